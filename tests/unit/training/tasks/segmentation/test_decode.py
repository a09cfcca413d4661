"""Decoded classes of pixels, compared with the probability of every class at every pixel."""

import pytest
import torch
from torch.nn import functional

from assay.datasets.mask_classes import IGNORED
from assay.training.models.unet import cell_outputs
from assay.training.tasks.segmentation.decode import PIXELS_AT_ONCE, class_logits, class_map, predicted_classes
from assay.training.tasks.segmentation.loss import plain_segmentation_loss

CLASSES = 3


def outputs(seed=0, height=24, width=40, batch=2):
    numbers = torch.randn(
        batch, 16 + 2 * CLASSES, height // 4, width // 4, generator=torch.Generator().manual_seed(seed)
    )
    return 2 * numbers


def log_probabilities(outputs):
    """Return those of background and classes at every pixel: (B, 1 + k, H, W)."""
    foreground, classes, _ = cell_outputs(outputs)
    enlarged = functional.interpolate(classes, scale_factor=4.0, mode="bilinear", align_corners=False)
    foreground = foreground[:, None]
    return torch.cat(
        [functional.logsigmoid(-foreground), functional.logsigmoid(foreground) + enlarged.log_softmax(1)], 1
    )


def test_the_classes_of_some_pixels_are_those_of_an_enlarged_map():
    cells = cell_outputs(outputs())
    enlarged = functional.interpolate(cells.classes, scale_factor=4.0, mode="bilinear", align_corners=False)
    places = torch.ones(2, 24, 40).nonzero().unbind(1)
    logits = class_logits(cells, places)
    assert torch.allclose(logits, enlarged.movedim(1, -1).flatten(0, 2), atol=1e-5)


@pytest.mark.parametrize("at_once", [97, PIXELS_AT_ONCE])
@pytest.mark.parametrize("seed", range(3))
def test_every_pixel_gets_its_most_probable_class(seed, at_once):
    probable = log_probabilities(outputs(seed))
    assert torch.allclose(probable.exp().sum(1), torch.ones(2, 24, 40), atol=1e-5)
    predicted = predicted_classes(outputs(seed), CLASSES, at_once=at_once)
    assert predicted.dtype == torch.uint8
    assert torch.equal(predicted.long(), probable.argmax(1))
    assert set(predicted.unique().tolist()) == {0, 1, 2, 3}


def test_the_loss_that_compares_epochs_is_the_cross_entropy_of_known_pixels():
    targets = torch.randint(0, 1 + CLASSES, (2, 24, 40), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    targets[:, :, :11] = IGNORED
    expected = functional.nll_loss(log_probabilities(outputs()), targets.long(), ignore_index=IGNORED)
    assert plain_segmentation_loss(outputs(), targets).item() == pytest.approx(expected.item(), rel=1e-5)
    assert plain_segmentation_loss(outputs(), torch.full_like(targets, IGNORED)) == 0
    assert plain_segmentation_loss(outputs(), torch.zeros_like(targets)).item() == pytest.approx(
        -log_probabilities(outputs())[:, 0].mean().item(), rel=1e-5
    )


def test_without_foreground_no_class_is_predicted():
    background = outputs()
    background[:, :16] = -1.0
    assert not predicted_classes(background, CLASSES).any()


def test_a_network_may_give_logits_of_every_pixel():
    logits = torch.randn(2, 1 + CLASSES, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(predicted_classes(logits, CLASSES).long(), logits.argmax(1))


def test_a_map_has_the_size_of_its_image_without_padding():
    logits = torch.zeros(1, 3, 16, 32)
    logits[0, 2, 4, 5] = 1.0
    classes = class_map(logits, 2, width=19, height=11)
    assert classes.shape == (11, 19)
    assert classes.dtype == torch.uint8
    assert classes.nonzero().tolist() == [[4, 5]]
    assert classes[4, 5] == 2
