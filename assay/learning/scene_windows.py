"""Windows of whole images as the network learns from them: standardized, with changes of colour.

Belongs here: what is the same whether masks or boxes are learned. Does not belong here: where windows lie and how they
are cut (``windows``), whole images (``scene_batches``).
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from assay.learning.scene_batches import Levels
from assay.spec.training_data import Augmentation
from assay.training.augmentation import add_noise, invert, recolour
from assay.training.tasks.windows import cut


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
