"""The layers that the networks for images share: an encoder of four scales, and merging features from coarse to fine.

After He et al., *Deep Residual Learning for Image Recognition* (2015), for the encoder, and Lin et al., *Feature
Pyramid Networks for Object Detection* (2017), for the decoder. Does not belong here: heads, whole networks.
"""

from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 16
"""Heights and widths of images must be multiples of it."""


def encoder_channels(width: int) -> tuple[int, int, int, int]:
    """Return the channels of the features at strides 2, 4, 8 and 16."""
    return width, 2 * width, 4 * width, 6 * width


class Encoder(nn.Module):
    """From an image to features at strides 2, 4, 8 and 16."""

    def __init__(self, channels_in: int, width: int) -> None:
        super().__init__()
        first, second, third, fourth = encoder_channels(width)
        self.stem = convolution(channels_in, first, stride=2)
        self.down4 = nn.Sequential(convolution(first, second, stride=2), ResidualBlock(second))
        self.down8 = nn.Sequential(convolution(second, third, stride=2), ResidualBlock(third))
        self.down16 = nn.Sequential(convolution(third, fourth, stride=2), ResidualBlock(fourth))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map images (B, C, H, W) to features, from fine to coarse."""
        stride2 = self.stem(images)  # (B, w, H/2, W/2)
        stride4 = self.down4(stride2)  # (B, 2w, H/4, W/4)
        stride8 = self.down8(stride4)  # (B, 4w, H/8, W/8)
        return stride2, stride4, stride8, self.down16(stride8)  # (B, 6w, H/16, W/16)


class Merge(nn.Module):
    """Add coarse features, which are rich in meaning, to finer ones, which are exact in position."""

    def __init__(self, coarse: int, fine: int, channels_out: int | None = None) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.mix = convolution(fine, channels_out or fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Add (B, coarse, H/2, W/2), enlarged, to (B, fine, H, W), and mix the sum: (B, channels_out, H, W)."""
        mixed: Tensor = self.mix(fine + F.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest"))
        return mixed


NORM_MOMENTUM = 0.3
"""Weight of a batch's mean and variance in the running ones that evaluation uses, which then follow the weights within
ten steps. With torch's 0.1, they were still close to their initial values after twelve steps of Muon."""


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
