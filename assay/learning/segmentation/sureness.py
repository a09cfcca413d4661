"""How sure a U-Net must be of an object's middle before it may show the object.

Places of a background that look like a part of an object, such as the rim of a coin, show no middle that convinces; the
whole object does. Of large regions, whose middles are far from most of their pixels, the opposite holds. So the
validation data choose, and may choose not to ask.

Belongs here: choosing, after the training. Does not belong here: applying it (``assay.learning.models.unet``).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from assay.class_maps import IGNORED
from assay.learning.engine import forward
from assay.learning.lesson import Batch, PlainItems
from assay.learning.models.detector import CELL
from assay.learning.models.unet import Unet, cell_answers, heat_around
from assay.learning.segmentation.decode import named_pixels
from assay.learning.segmentation.meter import iou_of
from assay.learning.state import Weights
from assay.spec.trained_model import TrainedModelSection

CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities to choose from; 0 asks for no middle."""


def with_sureness(
    network: nn.Module, weights: Weights, section: TrainedModelSection, validation: PlainItems | None
) -> Weights:
    """Return the weights with the probability that gives the best mean IoU on the validation data.

    Args:
        network: Gets the weights; its mode is left at evaluation. Others than U-Nets are left alone.
        weights: By name.
        section: Resolved spec.
        validation: Whole images; None leaves the weights as they are.
    """
    if not isinstance(network, Unet) or validation is None or section.data_validation is None:
        return weights
    network.load_state_dict(weights)
    network.eval()
    batches = validation.batches(section.data_validation.batch_size)
    best = best_choice(network, batches, section.train_params.precision == "bf16")
    return {**weights, "least_middle": torch.tensor(best)}


@torch.no_grad()
def best_choice(network: Unet, batches: Iterable[Batch], bf16: bool) -> float:
    """Return which of ``CHOICES`` gives the best mean IoU; the least of several equally good."""
    class_count = network.middles.out_channels
    network.least_middle.zero_()
    counts = torch.zeros(len(CHOICES), 1 + class_count, 1 + class_count, dtype=torch.int64)
    for inputs, wanted in batches:
        outputs = forward(network, inputs, bf16).cpu()
        levels = highest_choice(heat_around(cell_answers(outputs).middles))
        counts += counted_by_level(named_pixels(outputs, class_count), wanted.cpu(), levels, class_count)
    counts = with_less_shown(counts)
    return max(zip((iou_of(each)["mean_iou"] for each in counts), CHOICES, strict=True), key=lambda pair: pair[0])[1]


def highest_choice(heat: Tensor) -> Tensor:
    """Return the index of the highest choice that the probabilities around each cell reach: (B, 1, h, w) uint8."""
    return (torch.bucketize(heat, torch.tensor(CHOICES), right=True) - 1).to(torch.uint8)


def counted_by_level(named: Tensor, wanted: Tensor, levels: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each level and true class are taken for each class: (levels, 1 + k, 1 + k).

    Args:
        named: uint8 (B, H, W): 0 background, 1..k classes.
        wanted: uint8 (B, H, W): the same, 255 unknown.
        levels: uint8 (B, 1, H/4, W/4).
        class_count: k.
    """
    side, values = 1 + class_count, 1 + IGNORED
    enlarged = levels[:, 0].repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)
    triples = (enlarged.int() * values + wanted) * side + named
    counts = torch.bincount(triples.flatten(), minlength=len(CHOICES) * values * side)
    return counts.view(len(CHOICES), values, side)[:, :side]  # without the unknown


def with_less_shown(counts: Tensor) -> Tensor:
    """Return what the counts become when only pixels of a level or a higher one show anything: each level in turn."""
    shown = counts.flip(0).cumsum(0).flip(0)
    hidden = (counts.cumsum(0) - counts).sum(2)
    shown[:, :, 0] += hidden
    return shown
