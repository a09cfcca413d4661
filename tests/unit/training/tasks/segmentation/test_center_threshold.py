import pytest
import torch

from assay.training.tasks.segmentation.decode import (
    CHOICES,
    SegmentationMeter,
    counted_by_choice,
    highest_choice,
    named_pixels,
)

SIDE = 128


def saying(first, second):
    """Outputs that show two squares of class 2 of 2, and say how probable a middle is in each."""
    shown = torch.full((1, 1, SIDE, SIDE), -9.0)
    middles = torch.full((1, 2, SIDE // 4, SIDE // 4), -9.0)
    for place, heat in ((8, first), (96, second)):
        shown[..., place : place + 16, place : place + 16] = 9.0
        middles[:, 1, place // 4 + 2, place // 4 + 2] = torch.logit(torch.tensor(heat))
    classes = torch.tensor([-9.0, 9.0]).view(1, 2, 1, 1).expand(1, 2, SIDE // 4, SIDE // 4)
    return torch.cat([torch.nn.functional.pixel_unshuffle(shown, 4), classes, middles], 1)


def truth(*places):
    wanted = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    for place in places:
        wanted[..., place : place + 16, place : place + 16] = 2
    return wanted


@pytest.mark.parametrize(
    ("heats", "places", "choice"),
    [
        ((0.9, 0.25), (8,), 0.3),  # the second square is none
        ((0.9, 0.25), (8, 96), 0.0),  # both are
        ((0.05, 0.05), (8, 96), 0.0),  # no middles are seen, as in large regions
    ],
)
def test_the_least_probability_is_chosen_that_leaves_out_what_is_none(heats, places, choice):
    meter = SegmentationMeter(2)
    meter.add(saying(*heats), truth(*places))
    assert meter.values() == pytest.approx({"mean_iou": 1.0, "foreground_iou": 1.0, "least_middle": choice})


def test_without_a_probable_middle_nothing_is_shown():
    outputs = saying(0.9, 0.25)
    assert torch.equal(named_pixels(outputs, 2), truth(8, 96))
    assert torch.equal(named_pixels(outputs, 2, least_middle=0.3), truth(8))
    assert not named_pixels(outputs, 2, least_middle=0.95).any()


def test_counting_all_choices_at_once_equals_naming_pixels_at_each():
    source = torch.Generator().manual_seed(3)
    outputs = torch.randn(2, 16 + 2 * 3, 16, 24, generator=source)
    wanted = torch.randint(0, 4, (2, 64, 96), generator=source)
    wanted[:, :5] = 255
    counts = counted_by_choice(named_pixels(outputs, 3), wanted.to(torch.uint8), highest_choice(outputs), 3)
    for least, found in zip(CHOICES, counts, strict=True):
        named = named_pixels(outputs, 3, least)
        for true in range(4):
            assert torch.bincount(named[wanted == true], minlength=4).tolist() == found[true].tolist()
