"""Square windows cut out of whole images to learn from, mostly around objects, turned and zoomed as they are cut.

Belongs here: where windows lie, and their pixels; masks are cut like images. Does not belong here: what becomes of
boxes (``detection.windows``), changes of colour (``augment``).
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from assay.spec.trained_model import Augmentation
from assay.training.augmentation import add_noise, invert, recolour
from assay.training.tasks.images import Levels

SHOWN_SHARE = 0.5
"""Area of the windows of a pass, as a share of that of the images."""

ELSEWHERE = 0.1
"""Share of the windows that may lie anywhere, so that the network also sees what has no object in it."""


def windows_per_image(images: Sequence[Tensor], side: int) -> int:
    """Return how many windows of each image a pass shows: at least one, and more the larger the images are.

    Args:
        images: (3, h, w) each.
        side: Of the windows in pixels.
    """
    pixels = sum(image.shape[-2] * image.shape[-1] for image in images) / max(1, len(images))
    return max(1, round(SHOWN_SHARE * pixels / side**2))


def choose_anchors(
    boxes: Sequence[Tensor],
    sizes: Tensor,
    generator: Generator,
    elsewhere_share: float = ELSEWHERE,
    chances: Sequence[Tensor] | None = None,
) -> Tensor:
    """Return what each window is to show: an object of its image, or the whole image.

    Args:
        boxes: Of each image (m, 4): left, top, right, bottom in pixels; may be empty.
        sizes: (B, 2) width and height of each image.
        generator: Source of randomness.
        elsewhere_share: Share of the windows that may lie anywhere.
        chances: Of each object of each image (m,), with the sum 1; None when any is as likely.

    Returns:
        (B, 4) float32.
    """
    which, elsewhere = torch.rand(2, len(boxes), generator=generator)
    chosen = torch.cat([torch.zeros(len(boxes), 2), sizes.float()], 1)
    for row, own in enumerate(boxes):
        if len(own) and elsewhere[row] >= elsewhere_share:
            chosen[row] = own[_chosen(which[row], len(own), chances[row] if chances else None)]
    return chosen


def _chosen(chance: Tensor, count: int, chances: Tensor | None) -> int:
    """Return which of ``count`` objects a random number from 0 to 1 stands for."""
    if chances is None:
        return int(chance * count)
    return min(int(torch.searchsorted(chances.cumsum(0), chance, right=True)), count - 1)


def draw_corners(anchors: Tensor, sizes: Tensor, side: int, generator: Generator) -> Tensor:
    """Return the left and top edge of a random window for each anchor: (B, 2) int64.

    The window shows all of the anchor, or lies within it where the anchor is the larger one; it leaves the image only
    where that is smaller than the window, which then shows all of it.

    Args:
        anchors: (B, 4): left, top, right, bottom in pixels.
        sizes: (B, 2) width and height of the images.
        side: Of the windows in pixels.
        generator: Source of randomness.
    """
    one_end, other_end = anchors[:, 2:] - side, anchors[:, :2]
    corners = one_end + torch.rand(len(anchors), 2, generator=generator) * (other_end - one_end)
    room = sizes - side
    return corners.round().long().clamp(room.clamp(max=0), room.clamp(min=0))


def cut(image: Tensor, corner: tuple[int, int], side: int, fill: int) -> Tensor:
    """Return a window of an image, filled up where it leaves the image.

    Args:
        image: (C, H, W) or (H, W).
        corner: Left and top edge of the window; may be negative.
        side: Of the window in pixels.
        fill: Value outside of the image.
    """
    left, top = corner
    height, width = image.shape[-2:]
    rows = slice(max(top, 0), max(min(top + side, height), 0))
    columns = slice(max(left, 0), max(min(left + side, width), 0))
    window = image.new_full((*image.shape[:-2], side, side), fill)
    part = image[..., rows, columns]
    y, x = rows.start - top, columns.start - left
    window[..., y : y + part.shape[-2], x : x + part.shape[-1]] = part
    return window


def margin_of(side: int, strength: Augmentation) -> int:
    """Return how many pixels around a window its random movement may bring in."""
    turn = math.radians(min(strength.rotation_degrees or 0.0, 45.0))
    reach = (math.cos(turn) + math.sin(turn)) * (1 + (strength.zoom or 0.0)) - 1 + 2 * (strength.shift or 0.0)
    return math.ceil(side / 2 * reach)


def places_in_windows(maps: Tensor, side: int, cut_side: int) -> Tensor:
    """Return where in a window, cut with a margin, each pixel of its inner part is from, moved: (B, S, S, 2).

    Args:
        maps: (B, 2, 3) from ``augment.random_maps``; the identity takes the inner part as it is.
        side: S in pixels.
        cut_side: Of the window with its margin.
    """
    return F.affine_grid(maps, [len(maps), 1, side, side], align_corners=False) * (side / cut_side)


def resampled(windows: Tensor, places: Tensor, mode: str = "bilinear") -> Tensor:
    """Return the pixels at some places of windows.

    Args:
        windows: (B, C, S + 2m, S + 2m) float32, cut with a margin.
        places: (B, S, S, 2).
        mode: ``bilinear`` for pixels, ``nearest`` for masks.
    """
    return F.grid_sample(windows, places, mode=mode, align_corners=False)


def standard_windows(images: Sequence[Tensor], levels: Sequence[Levels], corners: Tensor, side: int) -> Tensor:
    """Return a window of each image (B, 3, side, side) float32, brought to the levels of the whole image.

    Windows must not be standardized by what they happen to show.

    Args:
        images: uint8 (3, h, w) each.
        levels: Of each image.
        corners: (B, 2) left and top edges, which may lie outside.
        side: In pixels.
    """
    windows = []
    for image, (mean, spread), (left, top) in zip(images, levels, corners.tolist(), strict=True):
        windows.append((cut(image, (left, top), side, round(mean)).float() - mean) / spread)
    return torch.stack(windows)


def recoloured(windows: Tensor, strength: Augmentation, generator: Generator) -> Tensor:
    """Return windows with other contrast, colours, polarity and noise, channels-last."""
    windows = recolour(windows, strength.contrast or 0.0, strength.colour_shift or 0.0, generator)
    windows = invert(windows, strength.invert_probability or 0.0, generator)
    windows = add_noise(windows, strength.noise or 0.0, generator)
    return windows.contiguous(memory_format=torch.channels_last)


def classes_of_items(objects: Sequence[Tensor], class_count: int, item_count: int) -> Tensor:
    """Return which classes the image of each item shows: int64 (n, k) of 0 and 1.

    Args:
        objects: Of each image (m, 5), class first; below 0 for what is none.
        class_count: k.
        item_count: n; the images come again and again.
    """
    shown = torch.stack([counts_of(each, class_count) > 0 for each in objects]).long()
    return shown.repeat(-(-item_count // len(shown)), 1)[:item_count]


def chances(objects: Sequence[Tensor], class_count: int) -> list[Tensor]:
    """Return the chance of each object to be looked at when its image is: (m,), the higher the rarer its class is."""
    counts = torch.stack([counts_of(each, class_count) for each in objects]).sum(0).clamp(min=1)
    weights = [1 / counts[each[:, 0].long()] for each in objects]
    return [each / each.sum() for each in weights]


def counts_of(objects: Tensor, class_count: int) -> Tensor:
    """Return how many objects of each class there are: float32 (k,)."""
    known = objects[objects[:, 0] >= 0, 0].long()
    return torch.bincount(known, minlength=class_count).float()
