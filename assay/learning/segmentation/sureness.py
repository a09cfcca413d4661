"""How sure a U-Net must be of an object's middle before it may show the object.

Places of a background that look like a part of an object, such as the rim of a coin, show no middle that convinces; the
whole object does. Of large regions, whose middles are far from most of their pixels, the opposite holds. So the
validation data choose, and may choose not to ask.

Belongs here: what becomes of the pixels at each choice. Does not belong here: applying one (``decode``).
"""

import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.training.models.unet import cell_answers
from assay.training.tasks.segmentation.decode import enlarged, heat_around

CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities to choose from; 0 asks for no middle."""


def highest_choice(outputs: Tensor) -> Tensor:
    """Return the index of the highest choice at which each pixel may show anything: uint8 (B, H, W).

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) as ``Unet`` gives them.
    """
    heat = heat_around(cell_answers(outputs).middles)
    choices = torch.tensor(CHOICES, device=heat.device)
    return enlarged((torch.bucketize(heat, choices, right=True) - 1).to(torch.uint8))


def counted_by_choice(named: Tensor, wanted: Tensor, highest: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each true class are taken for each class, at each choice: (choices, 1 + k, 1 + k).

    Args:
        named: uint8 (B, H, W): 0 background, 1..k classes.
        wanted: uint8 (B, H, W): the same, 255 unknown.
        highest: uint8 (B, H, W): index of the highest choice at which a pixel may show anything.
        class_count: k.
    """
    side, values = 1 + class_count, 1 + IGNORED
    triples = (highest.int() * values + wanted) * side + named
    counts = torch.bincount(triples.flatten(), minlength=len(CHOICES) * values * side)
    return with_less_shown(counts.view(len(CHOICES), values, side)[:, :side])  # without the unknown


def with_less_shown(counts: Tensor) -> Tensor:
    """Return what becomes of counts by highest choice when only those of one choice or a higher one show anything."""
    shown = counts.flip(0).cumsum(0).flip(0)
    hidden = (counts.cumsum(0) - counts).sum(2)
    shown[:, :, 0] += hidden
    return shown
