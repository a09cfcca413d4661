"""Whole images as batches: standardized one by one, padded to a common size that the network can halve.

Belongs here: what training, validation and prediction do alike. Does not belong here: reading images (``scenes``).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from assay.learning.models.encoder import STRIDE

EPSILON = 0.05
"""Added to the standard deviation (white = 1), so that a flat image stays calm."""

PIXELS_AT_ONCE = 2_000_000
"""Most pixels in a batch of whole images, unless one image alone has more: memory grows with them."""


class Levels(NamedTuple):
    """What is subtracted from an image's values, then what they are divided by; white is 255."""

    mean: float
    spread: float


def levels_of(pixels: Tensor, standardize: bool) -> Levels:
    """Return what brings an image (3, h, w) uint8 to mean 0 and standard deviation 1, or else to 0 to 1."""
    if not standardize:
        return Levels(0.0, 255.0)
    counts = torch.bincount(pixels.flatten(), minlength=256).cpu().double()  # a ninth of the time of torch.std_mean
    values = torch.arange(256).double()
    mean = counts @ values / counts.sum()
    variance = counts @ (values - mean).square() / max(1, pixels.numel() - 1)
    return Levels(mean.item(), variance.sqrt().item() + 255 * EPSILON)


def as_scene_batch(images: Sequence[Tensor], standardize: bool) -> Tensor:
    """Return images as the network reads them: (B, 3, H, W) float32, channels-last, sides multiples of 16.

    Each image lies in the top left corner; the rest is 0, an image's mean when it is standardized.

    Args:
        images: uint8 (3, h, w) of any sizes.
        standardize: Give each image mean 0 and standard deviation 1.
    """
    height, width = (-(-max(image.shape[axis] for image in images) // STRIDE) * STRIDE for axis in (1, 2))
    batch = torch.zeros(len(images), 3, height, width, device=images[0].device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    for row, image in enumerate(images):
        mean, spread = levels_of(image, standardize)
        batch[row, :, : image.shape[1], : image.shape[2]].copy_(image).sub_(mean).div_(spread)
    return batch


def split_scenes(images: Sequence[Tensor], batch_size: int, most_pixels: int = PIXELS_AT_ONCE) -> Iterator[slice]:
    """Yield consecutive parts of a list of images, none with more than ``batch_size`` or too many pixels."""
    first = 0
    while first < len(images):
        end, height, width = first, 0, 0
        while end < len(images) and end - first < batch_size:
            height, width = (max(known, images[end].shape[axis]) for known, axis in ((height, 1), (width, 2)))
            if end > first and (end + 1 - first) * height * width > most_pixels:
                break
            end += 1
        yield slice(first, end)
        first = end
