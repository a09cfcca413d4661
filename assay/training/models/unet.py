"""U-Net for whole images: a class for every pixel, learned with the help of the middles of objects.

After Ronneberger et al., *U-Net* (2015), for the shape, and Zhou et al., *Objects as Points* (2019), for the middles.
The question "which class is this pixel of" is hard to learn from where in the object the pixel happens to be, and easy
from the object's middle (``docs/segmentation.md`` has the figures). So there are three answers: whether a pixel shows
anything at all, at full size; where middles of objects are, by class; and, from the features and the middles around,
which class it would be. One network for images of any size: it has no idea of where in the image it is.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.spec.models import UnetModel
from assay.training.models.backbone import Encoder, Merge, ResidualBlock, convolution, encoder_channels
from assay.training.models.detector import CELL, RARE

REACH = 4
"""Cells in each direction from which a pixel hears of middles: half of an object of the usual size."""


class CellAnswers(NamedTuple):
    """What the network says, as logits.

    Attributes:
        shown: (B, H, W): whether a pixel shows anything but background.
        classes: (B, k, H/4, W/4): its class, if so.
        middles: (B, k, H/4, W/4): whether the middle of an object of a class is in the cell.
    """

    shown: Tensor
    classes: Tensor
    middles: Tensor


class Unet(nn.Module):
    """Encoder, way up to stride 2, and three heads."""

    def __init__(self, channels: int, class_count: int, width: int) -> None:
        super().__init__()
        first, second, third, fourth = encoder_channels(width)
        self.encoder = Encoder(channels, width)
        self.merge8 = Merge(fourth, third)
        self.merge4 = Merge(third, second)
        self.mix = ResidualBlock(second)
        self.middles = nn.Conv2d(second, class_count, 1)
        self.hear = nn.Conv2d(class_count, second, 1)
        self.classes = nn.Sequential(convolution(second, second), nn.Conv2d(second, class_count, 1))
        self.merge2 = Merge(second, first, 2 * first)
        self.shown = nn.Conv2d(2 * first, 4, 1)  # the four pixels at each place of stride 2
        nn.init.constant_(self.middles.get_parameter("bias"), math.log(RARE / (1 - RARE)))

    def answers(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, C, H, W) to logits: shown (B, 1, H, W), classes and middles (B, k, H/4, W/4)."""
        stride2, stride4, stride8, stride16 = self.encoder(images)
        features = self.mix(self.merge4(self.merge8(stride16, stride8), stride4))
        middles = self.middles(features)
        classes = self.classes(features + self.hear(highest_around(middles, REACH)))
        shown = F.pixel_shuffle(self.shown(self.merge2(features, stride2)), 2)
        return shown, classes, middles

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W), sides multiples of 16, to outputs.

        Returns:
            All answers in one tensor (B, 16 + 2k, H/4, W/4), for ``cell_answers`` and ``segmentation.decode``: an
            eighth of what the probability of every class at every pixel would take.
        """
        shown, classes, middles = self.answers(images)
        return torch.cat([F.pixel_unshuffle(shown, CELL), classes, middles], 1)


def highest_around(cells: Tensor, reach: int) -> Tensor:
    """Return the highest value within ``reach`` of each cell; columns, then rows: a quarter of the comparisons."""
    side = 2 * reach + 1
    columns = F.max_pool2d(cells, (side, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(columns, (1, side), stride=1, padding=(0, reach))


def cell_answers(outputs: Tensor) -> CellAnswers:
    """Return the parts of what the network says: (B, 16 + 2k, H/4, W/4)."""
    class_count = (outputs.shape[1] - CELL**2) // 2
    end = CELL**2 + class_count
    return CellAnswers(F.pixel_shuffle(outputs[:, : CELL**2], CELL)[:, 0], outputs[:, CELL**2 : end], outputs[:, end:])


def build_unet(section: UnetModel, input_shape: tuple[int, ...], output_count: int) -> Any:
    """Return an untrained network with random weights from torch's current generator.

    Args:
        section: Its width.
        input_shape: (channels, height, width); the sizes do not matter.
        output_count: Classes plus 1 for the background.
    """
    return Unet(input_shape[0], output_count - 1, section.width)
