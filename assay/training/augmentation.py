"""Augmentation of training batches; each step is a pure function of the batch and a generator.

Belongs here: arithmetic on batches of images (B, C, H, W), or values (B, ...). Does not belong here: its strength (the
spec). Random numbers are drawn on the CPU, so that they do not depend on the device of the batch.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from assay.spec.trained_model import Augmentation
from assay.training.inputs import Inputs


def augment(batch: Tensor, inputs: Inputs, strength: Augmentation, generator: Generator) -> Tensor:
    """Return an augmented copy of a batch, in the same shape and memory layout.

    Args:
        batch: From ``as_batch``.
        inputs: Description of the items; rows of pixels are augmented as images.
        strength: Strength of each change; null means 0.
        generator: Source of all randomness.
    """
    shape = batch.shape
    images = batch.reshape(-1, 1, *inputs.grid) if inputs.grid != (0, 0) else batch
    if images.dim() == 4:
        images = move(images, strength, generator)
        images = recolour(images, strength.contrast or 0.0, strength.colour_shift or 0.0, generator)
        images = invert(images, strength.invert_probability or 0.0, generator)
    changed = add_noise(images.reshape(shape), strength.noise or 0.0, generator)
    return changed.contiguous(memory_format=torch.channels_last) if changed.dim() == 4 else changed


def between(low: float, high: float, count: int, generator: Generator) -> Tensor:
    """Return ``count`` uniform random numbers from ``low`` to ``high``."""
    return torch.rand(count, generator=generator) * (high - low) + low


def move(images: Tensor, strength: Augmentation, generator: Generator) -> Tensor:
    """Rotate, zoom and shift each image by a random amount; pixels from outside the image repeat its edge.

    Args:
        images: (B, C, H, W).
        strength: Reads rotation_degrees, zoom and shift.
        generator: Source of randomness.
    """
    if not (strength.rotation_degrees or strength.zoom or strength.shift):
        return images
    maps = random_maps(len(images), strength, generator)
    grid = F.affine_grid(maps.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def random_maps(count: int, strength: Augmentation, generator: Generator) -> Tensor:
    """Return random affine maps (count, 2, 3) from places in a transformed image to places in the original.

    Places are (x, y, 1), from -1 to 1 across the image as in ``torch.nn.functional.affine_grid``.

    Args:
        count: Number of maps.
        strength: Reads rotation_degrees, zoom and shift.
        generator: Source of randomness.
    """
    angle, zoom, shift = strength.rotation_degrees or 0.0, strength.zoom or 0.0, strength.shift or 0.0
    turn = between(-angle, angle, count, generator) * (math.pi / 180)
    scale = torch.exp(between(-math.log1p(zoom), math.log1p(zoom), count, generator))
    right, down = (between(-2 * shift, 2 * shift, count, generator) for _ in range(2))  # the width is 2 in grid units
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    return torch.stack([torch.stack([cos, -sin, right], 1), torch.stack([sin, cos, down], 1)], 1)


def recolour(images: Tensor, contrast: float, colour_shift: float, generator: Generator) -> Tensor:
    """Multiply each image, then shift each of its channels.

    Args:
        images: (B, C, H, W), standardized.
        contrast: Largest change as a fraction; factors lie between 1/(1 + contrast) and 1 + contrast.
        colour_shift: Largest shift, in the images' unit.
        generator: Source of randomness.
    """
    if not (contrast or colour_shift):
        return images
    count, channels = images.shape[:2]
    factor = torch.exp(between(-math.log1p(contrast), math.log1p(contrast), count, generator))
    shift = between(-colour_shift, colour_shift, count * channels, generator)
    return images * factor.view(-1, 1, 1, 1).to(images) + shift.view(count, channels, 1, 1).to(images)


def invert(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Invert the values of a share of the images around the mean of each."""
    if not probability:
        return images
    chosen = torch.rand(len(images), generator=generator) < probability
    mirrored = 2 * images.mean((1, 2, 3), keepdim=True) - images
    return torch.where(chosen.view(-1, 1, 1, 1).to(images.device), mirrored, images)


def add_noise(values: Tensor, std: float, generator: Generator) -> Tensor:
    """Add Gaussian noise to every value."""
    return values + std * torch.randn(values.shape, generator=generator).to(values) if std else values
