"""The layers that the networks for images are made of.

Belongs here: convolutions with what follows them. Does not belong here: whole networks.
"""

from torch import Tensor, nn
from torch.nn import functional as F

NORM_MOMENTUM = 0.3
"""How much of a batch's mean and variance goes into the running ones, which evaluation uses: they follow the weights
within ten steps. With torch's 0.1, weights that Muon had changed for twelve steps had those of the beginning."""


def convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution with batch normalization and ReLU."""
    kernel = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
    return nn.Sequential(kernel, nn.BatchNorm2d(channels_out, momentum=NORM_MOMENTUM), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input (He et al. 2015)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        norm = nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM)
        self.change = nn.Sequential(convolution(channels, channels), last, norm)

    def forward(self, features: Tensor) -> Tensor:
        """Keep the shape (B, C, H, W)."""
        return F.relu(features + self.change(features), inplace=True)
