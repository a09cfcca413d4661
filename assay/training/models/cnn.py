"""Compact residual network for small images.

After He et al., *Deep Residual Learning for Image Recognition* (2015), with two residual blocks and global max pooling:
the position of the object in the image does not matter.
"""

from typing import Any

from torch import Tensor, nn

from assay.spec.models import CnnModel
from assay.training.models.backbone import ResidualBlock, convolution


class Cnn(nn.Module):
    """Four scales from the full size to an eighth of it, then one linear layer."""

    def __init__(self, channels: int, output_size: int, width: int, dropout: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            convolution(channels, width),  # (B, w, S, S)
            convolution(width, 2 * width, stride=2),  # (B, 2w, S/2, S/2)
            ResidualBlock(2 * width),
            convolution(2 * width, 4 * width, stride=2),  # (B, 4w, S/4, S/4)
            ResidualBlock(4 * width),
            convolution(4 * width, 4 * width, stride=2),  # (B, 4w, S/8, S/8)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(4 * width, output_size)

    def forward(self, images: Tensor) -> Tensor:
        """Map images to outputs."""
        pooled = self.features(images).amax((2, 3))  # (B, C, S, S) -> (B, 4w)
        outputs: Tensor = self.head(self.dropout(pooled))
        return outputs  # (B, outputs)


def build_cnn(section: CnnModel, input_shape: tuple[int, ...], output_count: int) -> Any:
    """Return an untrained network with random weights from torch's current generator."""
    return Cnn(input_shape[0], output_count, section.width, section.dropout)
