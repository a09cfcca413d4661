"""Detection of objects of very different sizes: the network looks at an image and at reductions of it.

In each of these pictures, the network learns and finds the objects that suit its training windows there; what it finds
in all of them is put together. Belongs here: which object is looked for where, reduced pictures, putting detections
together. Does not belong here: detections of one picture (``boxes``), training windows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from assay.spec.classes import REDUCTIONS
from assay.training.interfaces import CROWD
from assay.training.tasks.detection.boxes import Detections, best_candidates, box_candidates, clip

SUITABLE_SHARE = 2 / 3
"""Longer side of the largest object that a picture is meant for, as a share of the training windows' side."""

LEARNED_BEYOND = 2**0.5
"""Factor by which objects may be larger or smaller than meant for a picture and still be learned in it."""

FOUND_BEYOND = 1.25
"""Factor by which detections may be larger or smaller than meant for a picture and still count."""

MOST_TOO_LARGE = 0.01
"""Share of the training objects that may be larger than the training windows: mistakes in the data are not worth
another reduction."""

EVERY_EMPTY = 4
"""Of the reduced pictures in which nothing is learned, one in so many is shown in training."""


class Sizes(NamedTuple):
    """A range of longer sides in pixels of a reduced picture, both ends included."""

    least: float
    most: float


@dataclass(frozen=True)
class Pyramid:
    """The reductions at which a network looks at an image.

    Attributes:
        reductions: Factors, ascending from 1 on.
        window_size: Side in pixels of the training windows.
    """

    reductions: tuple[int, ...]
    window_size: int

    def sizes(self, place: int, beyond: float) -> Sizes:
        """Return the sizes of the objects that are looked for at a reduction.

        The first one is for all smaller objects too, the last one for all larger ones.

        Args:
            place: Of the reduction.
            beyond: Factor by which objects may be larger or smaller than they are meant to be.
        """
        meant = SUITABLE_SHARE * self.window_size
        least = meant * self.reductions[place - 1] / self.reductions[place] / beyond if place else 0.0
        return Sizes(least, meant * beyond if place + 1 < len(self.reductions) else math.inf)


def fitting_reductions(sides_px: ArrayLike, window_size: int) -> tuple[int, ...]:
    """Return the reductions with which training windows show nearly all objects whole: 1, 2, 4, ...

    Args:
        sides_px: Longer side of each training object (n,), in the pixels that the network sees without a reduction.
        window_size: Side in pixels of the training windows.
    """
    sides = np.asarray(sides_px, np.float64)
    most = int(MOST_TOO_LARGE * len(sides))
    enough = (factor for factor in REDUCTIONS if (sides > window_size * factor).sum() <= most)
    return REDUCTIONS[: REDUCTIONS.index(next(enough, REDUCTIONS[-1])) + 1]


def reduced_picture(pixels: Tensor, factor: int) -> Tensor:
    """Return an image, uint8 (3, h, w), whose pixels are the means of blocks of factor x factor, rounded.

    At the right and lower edge, blocks are as large as what there is. The result lies where the image does.
    """
    if factor == 1:
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels.cpu().permute(1, 2, 0).numpy())).reduce(factor)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(pixels.device)


def boxes_at(boxes: Tensor, pyramid: Pyramid, place: int) -> Tensor:
    """Return the targets in a reduced picture: float32 (k, 5), in its pixels.

    Objects that are looked for at other reductions become crowd regions, in which detections are neither right nor
    wrong: small ones as a whole, larger ones in the middle, where the network would find them. Within those that are
    more than twice too large, it learns that parts of objects are no objects.

    Args:
        boxes: (m, 5): class, left, top, right, bottom in pixels of the whole image; class -2 for crowd regions.
        pyramid: The reductions.
        place: That of the picture.
    """
    rows = boxes.clone()
    rows[:, 1:] /= pyramid.reductions[place]
    sides = (rows[:, 3:] - rows[:, 1:3]).amax(1)
    wanted, is_object = pyramid.sizes(place, LEARNED_BEYOND), rows[:, 0] >= 0
    large = is_object & (sides > wanted.most)
    rows[large | (is_object & (sides < wanted.least)), 0] = CROWD
    quarter = (rows[large, 3:] - rows[large, 1:3]) / 4
    rows[large, 1:] += torch.cat([quarter, -quarter], 1)
    return rows[~(large & (sides > 2 * wanted.most))]


def training_pictures(
    images: Sequence[Tensor], boxes: Sequence[Tensor], pyramid: Pyramid
) -> tuple[list[Tensor], list[Tensor]]:
    """Return all pictures to cut training windows from, and their targets: the images, then their reductions.

    Args:
        images: uint8 (3, h, w) each.
        boxes: Of each image (m, 5).
        pyramid: The reductions.
    """
    pictures, targets = [], []
    for place, factor in enumerate(pyramid.reductions):
        for number, (pixels, own) in enumerate(zip(images, boxes, strict=True)):
            rows = boxes_at(own, pyramid, place)
            if not place or bool((rows[:, 0] >= 0).any()) or number % EVERY_EMPTY == 0:
                pictures.append(reduced_picture(pixels, factor))
                targets.append(rows)
    return pictures, targets


def decode_pyramid(
    outputs: Sequence[Tensor], sizes: Tensor, pyramid: Pyramid, least_score: float, most: int, most_overlap: float
) -> list[Detections]:
    """Return the detections in each image of a batch, of all its reduced pictures.

    Args:
        outputs: For each reduction (B, k + 4, h, w) of ``Detector``, float32.
        sizes: (B, 2) width and height of the images in pixels, without reduction and padding.
        pyramid: The reductions.
        least_score: Least score of a detection, 0 to 1.
        most: Largest number of detections per image.
        most_overlap: IoU above which two boxes of one class count as the same object.
    """
    parts = []
    for place, (factor, own) in enumerate(zip(pyramid.reductions, outputs, strict=True)):
        boxes, scores, classes = box_candidates(own, -(-sizes // factor), least_score, most)
        sides, wanted = (boxes[..., 2:] - boxes[..., :2]).amax(-1), pyramid.sizes(place, FOUND_BEYOND)
        scores = torch.where((sides >= wanted.least) & (sides <= wanted.most), scores, -torch.inf)
        parts.append((clip(boxes * factor, sizes[:, :1], sizes[:, 1:]), scores, classes))
    boxes, scores, classes = (torch.cat(each, 1) for each in zip(*parts, strict=True))
    order = scores.argsort(dim=1, descending=True, stable=True)
    boxes = torch.take_along_dim(boxes, order[..., None], 1)
    scores, classes = (torch.take_along_dim(each, order, 1) for each in (scores, classes))
    return best_candidates(boxes, scores, classes, most, most_overlap)
