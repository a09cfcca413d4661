"""Dense detector: for every cell of 4x4 pixels, the class of a center in it and the distances to the box's edges.

After Zhou et al., *Objects as Points* (2019), for the heat map of centers, and Tian et al., *FCOS* (2019), for the
distances. The network is fully convolutional and takes images of any size.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.spec.models import DetectorModel
from assay.training.models.backbone import Encoder, Merge, ResidualBlock, encoder_channels

CELL = 4
"""Side in pixels of the cells for which the network has outputs."""

USUAL_DISTANCE_PX = 8.0
"""Unit of the distances inside the network: distances of usual objects are near 1, which suits initial weights."""

RARE = 0.01
"""Initial probability of a center (Lin et al., *Focal Loss*, 2017): nearly all cells have none."""


class Detector(nn.Module):
    """Encoder, decoder up to stride 4, and one head."""

    def __init__(self, channels: int, class_count: int, width: int) -> None:
        super().__init__()
        self.class_count = class_count
        _, second, third, fourth = encoder_channels(width)
        self.encoder = Encoder(channels, width)
        self.merge8 = Merge(fourth, third)
        self.merge4 = Merge(third, second)
        self.mix = ResidualBlock(second)  # at this stride, twice the channels would double the time of a step
        self.head = nn.Conv2d(second, class_count + 4, 1)
        nn.init.constant_(self.head.get_parameter("bias")[:class_count], math.log(RARE / (1 - RARE)))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W), sides multiples of 16, to outputs (B, k + 4, H/4, W/4).

        The first k channels are logits of the classes; the last four are the positive distances in pixels from the
        cell's center to the left, top, right and bottom edge.
        """
        _, stride4, stride8, stride16 = self.encoder(images)
        features = self.mix(self.merge4(self.merge8(stride16, stride8), stride4))
        logits, raw = self.head(features).split((self.class_count, 4), 1)
        return torch.cat([logits, F.softplus(raw) * USUAL_DISTANCE_PX], 1)


def build_detector(section: DetectorModel, input_shape: tuple[int, ...], output_count: int) -> Any:
    """Return an untrained network with random weights from torch's current generator.

    Args:
        section: Its width.
        input_shape: (channels, height, width); the sizes do not matter.
        output_count: Classes plus 4.
    """
    return Detector(input_shape[0], output_count - 4, section.width)
