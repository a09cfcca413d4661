import pytest
import torch

from assay.learning.models.unet import Unet
from assay.learning.segmentation.decode import named_pixels
from assay.learning.segmentation.sureness import best_choice, with_sureness
from assay.spec.trained_model import TrainedModelSection

SIDE = 128


class Saying(Unet):
    """A U-Net that shows two squares, and says how probable a middle is in each."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__(3, 2, 4)
        self.first, self.second = first, second

    def answers(self, images):
        shown = torch.full((1, 1, SIDE, SIDE), -9.0)
        middles = torch.full((1, 2, SIDE // 4, SIDE // 4), -9.0)
        for place, heat in ((8, self.first), (96, self.second)):
            shown[..., place : place + 16, place : place + 16] = 9.0
            middles[:, 1, place // 4 + 2, place // 4 + 2] = torch.logit(torch.tensor(heat))
        classes = torch.tensor([-9.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, SIDE // 4, SIDE // 4)
        return shown, classes, middles


def truth(*places):
    wanted = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    for place in places:
        wanted[..., place : place + 16, place : place + 16] = 2
    return [(torch.zeros(1, 3, SIDE, SIDE), wanted)]


@pytest.mark.parametrize(
    ("heats", "places", "choice"),
    [
        ((0.9, 0.25), (8,), 0.3),  # the second square is none
        ((0.9, 0.25), (8, 96), 0.0),  # both are
        ((0.05, 0.05), (8, 96), 0.0),  # no middles are seen, as in large regions
    ],
)
def test_the_least_probability_is_chosen_that_leaves_out_what_is_none(heats, places, choice):
    assert best_choice(Saying(*heats), truth(*places), bf16=False) == pytest.approx(choice)


def test_what_was_chosen_is_saved_with_the_weights_and_obeyed():
    class Validation:
        def __len__(self):
            return 1

        def batches(self, size):
            return iter(truth(8))

    network = Saying(0.9, 0.25)
    section = TrainedModelSection.model_validate({"train_params": {"precision": "fp32"}})
    weights = with_sureness(network, dict(network.state_dict()), section, Validation())
    network.load_state_dict(weights)
    with torch.no_grad():
        named = named_pixels(network.eval()(torch.zeros(1, 3, SIDE, SIDE)), 2)
    assert torch.equal(named, truth(8)[0][1])


def test_other_networks_are_left_alone():
    weights = {"weight": torch.zeros(1)}
    assert with_sureness(torch.nn.Linear(1, 1), weights, TrainedModelSection(), None) is weights
