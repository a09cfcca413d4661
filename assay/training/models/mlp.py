"""Fully connected network for rows of numbers."""

import math
from itertools import pairwise

from torch import Tensor, nn

from assay.spec.models import MlpModel


class Mlp(nn.Module):
    """Three hidden layers with batch normalization (Ioffe & Szegedy 2015), SiLU (Elfwing et al. 2018) and dropout."""

    def __init__(self, input_size: int, output_size: int, width: int, dropout: float) -> None:
        super().__init__()
        widths = [input_size, width, width, max(1, width // 2)]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.SiLU(), nn.Dropout(dropout)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], output_size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map rows to outputs."""
        outputs: Tensor = self.head(self.features(inputs))  # (B, *input_shape) -> (B, outputs)
        return outputs


def build_mlp(section: MlpModel, input_shape: tuple[int, ...], output_count: int) -> Mlp:
    """Return an untrained network with random weights from torch's current generator."""
    return Mlp(math.prod(input_shape), output_count, section.width, section.dropout)
