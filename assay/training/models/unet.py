"""U-Net for whole images: a class for every pixel, learned with the help of the centers of objects.

After Ronneberger et al., *U-Net* (2015), for the architecture, and Zhou et al., *Objects as Points* (2019), for the
centers. The class of a pixel is hard to learn from the part of the object around it, and easy from the object's center
(``docs/segmentation.md`` has the figures). So the network has three heads: whether a pixel is foreground, at full
resolution; a heat map of the centers of objects, by class; and, from the features and the centers nearby, the class of
the foreground. The network is fully convolutional and takes images of any size.
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
"""Cells in each direction within which centers inform the class of a cell: half of an object of the usual size."""


class CellOutputs(NamedTuple):
    """The outputs of the three heads, as logits.

    Attributes:
        foreground: (B, H, W): whether a pixel is anything but background.
        classes: (B, k, H/4, W/4): the class of the foreground.
        centers: (B, k, H/4, W/4): whether the center of an object of a class is in the cell.
    """

    foreground: Tensor
    classes: Tensor
    centers: Tensor


class Unet(nn.Module):
    """Encoder, decoder up to stride 2, and three heads.

    The names of the submodules are the names of the weights in model files: ``shown`` is the foreground head,
    ``middles`` the head of the centers, and ``hear`` the embedding of the centers.
    """

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
        self.shown = nn.Conv2d(2 * first, 4, 1)  # the four pixels of each cell of stride 2
        nn.init.constant_(self.middles.get_parameter("bias"), math.log(RARE / (1 - RARE)))

    def heads(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map images (B, C, H, W) to logits: foreground (B, 1, H, W), classes and centers (B, k, H/4, W/4)."""
        stride2, stride4, stride8, stride16 = self.encoder(images)
        features = self.mix(self.merge4(self.merge8(stride16, stride8), stride4))
        centers = self.middles(features)
        classes = self.classes(features + self.hear(highest_around(centers, REACH)))
        foreground = F.pixel_shuffle(self.shown(self.merge2(features, stride2)), 2)
        return foreground, classes, centers

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W), sides multiples of 16, to outputs.

        Returns:
            The outputs of all heads in one tensor (B, 16 + 2k, H/4, W/4), for ``cell_outputs`` and
            ``segmentation.decode``: an eighth of the memory that a probability of every class at every pixel takes.
        """
        foreground, classes, centers = self.heads(images)
        return torch.cat([F.pixel_unshuffle(foreground, CELL), classes, centers], 1)


def highest_around(cells: Tensor, reach: int) -> Tensor:
    """Return the highest value within ``reach`` of each cell.

    Pooling columns, then rows, takes a quarter of the comparisons of square windows.
    """
    side = 2 * reach + 1
    columns = F.max_pool2d(cells, (side, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(columns, (1, side), stride=1, padding=(0, reach))


def cell_outputs(outputs: Tensor) -> CellOutputs:
    """Return the outputs of the heads from the network's outputs (B, 16 + 2k, H/4, W/4)."""
    class_count = (outputs.shape[1] - CELL**2) // 2
    end = CELL**2 + class_count
    return CellOutputs(F.pixel_shuffle(outputs[:, : CELL**2], CELL)[:, 0], outputs[:, CELL**2 : end], outputs[:, end:])


def build_unet(section: UnetModel, input_shape: tuple[int, ...], output_count: int) -> Any:
    """Return an untrained network with random weights from torch's current generator.

    Args:
        section: Its width.
        input_shape: (channels, height, width); the sizes do not matter.
        output_count: Classes plus 1 for the background.
    """
    return Unet(input_shape[0], output_count - 1, section.width)
