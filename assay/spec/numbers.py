"""Source ``numbers``: generated pictures of numbers on photo backgrounds, with masks and boxes.

Belongs here: what the user can ask of the generator. Does not belong here: drawing.
"""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import ImageSize, Section

DEFAULT_ROTATION_DEGREES = 45.0
_INK_WIDTH_PER_DIGIT = 0.72
_INK_HEIGHT = 0.78
"""Ink of the widest and highest digit of all fonts, in font sizes."""


class Augmentation(Section):
    """Which changes a background photo goes through; each is applied at random, to some of the images."""

    flip: bool = True
    """Mirror left to right and top to bottom."""
    affine: bool = True
    """Turn, shear and zoom."""
    elastic: bool = True
    """Bend smoothly."""
    brightness: bool = True
    """Make lighter or darker."""
    contrast: bool = True
    """Stretch or compress the grey levels."""
    hue: bool = True
    """Turn the hue, change saturation and tint."""
    blur: bool = True
    """Blur with a Gaussian."""
    sharpen: bool = True
    """Sharpen or emboss."""


class NumbersSource(Section):
    """Generated pictures; picture i depends on the seed and i alone, so a larger count only adds pictures."""

    kind: Literal["numbers"] = "numbers"
    """Chooses this source."""
    sample_count: int = Field(default=400, ge=1, le=1_000_000)
    """Number of pictures."""
    max_number: int = Field(default=10, ge=1, le=255)
    """Exclusive: numbers 0 to max_number - 1 are drawn, so 10 gives all digits; above 10, 12 is one object "12"."""
    max_amount: int = Field(default=8, ge=1, le=254)
    """Numbers per picture at most; every amount from 1 to this is equally likely."""
    img_size: ImageSize = ImageSize(width=256, height=256)
    """Size of every picture, in pixels."""
    font_size_min: int = Field(default=24, ge=8, le=4096)
    """Smallest font size in pixels, inclusive."""
    font_size_max: int = Field(default=48, ge=8, le=4096)
    """Largest font size in pixels, inclusive."""
    rotate: bool = True
    """Turn every number by a random angle."""
    rotation_degrees: float = Field(default=DEFAULT_ROTATION_DEGREES, ge=0, le=180)
    """Largest angle to either side. Not 180 by default: upside down, a 6 is a 9, and no model can tell them apart."""
    detection_labels: bool = True
    """Write labels/<name>.json with the box of every number; the table objects.parquet is written either way."""
    masks: bool = True
    """Write masks/<name>.png: each pixel is the number drawn there, or 255 for background."""
    background_folder: str | None = Field(default=None, min_length=1)
    """Folder of photos to draw on; every file in it must be readable. Null takes the photos of scikit-image."""
    min_contrast: float = Field(default=40.0, ge=0, le=127)
    """Least distance between the luminance of a number and that of its background, in levels of 0 to 255."""
    overlap: bool = False
    """Let numbers cover each other; boxes and masks then show the part that remains visible."""
    compress_level: int = Field(default=1, ge=0, le=9)
    """PNG compression: 0 none, 1 fastest, 9 smallest; 6 makes files a quarter smaller in nine times the time."""
    augmentation: Augmentation = Augmentation()
    """Changes to the background photos."""

    @property
    def largest_angle(self) -> float:
        """Largest angle to either side in degrees; 0 when nothing is rotated."""
        return self.rotation_degrees if self.rotate else 0.0

    @property
    def room_px(self) -> int:
        """Side of a square that every number fits into, at any angle that may be drawn."""
        width = _INK_WIDTH_PER_DIGIT * len(str(self.max_number - 1))
        side = math.hypot(width, _INK_HEIGHT) if self.largest_angle else max(width, _INK_HEIGHT)
        return math.ceil(self.font_size_max * side) + 2

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.font_size_min > self.font_size_max:
            raise ValueError(
                f"font_size_min ({self.font_size_min}) is larger than font_size_max ({self.font_size_max}); "
                "swap them or raise font_size_max"
            )
        width, height = self.img_size.width, self.img_size.height
        if self.room_px > min(width, height):
            raise ValueError(
                f"font_size_max ({self.font_size_max}) makes numbers of up to {self.room_px} px, "
                f"but img_size is {width}x{height}; lower font_size_max or raise img_size"
            )
        if not self.overlap and self.max_amount * self.room_px**2 > width * height:
            raise ValueError(
                f"max_amount ({self.max_amount}) numbers of up to {self.room_px} px do not fit side by side into "
                f"img_size {width}x{height}; lower max_amount or font_size_max, or set overlap: true"
            )
        return self

    @model_validator(mode="after")
    def _rotation_is_meant(self) -> Self:
        if self.rotate and self.rotation_degrees == 0:
            raise ValueError("rotate is true, but rotation_degrees is 0; set rotate: false or give an angle")
        if not self.rotate and self.rotation_degrees != DEFAULT_ROTATION_DEGREES:
            raise ValueError(
                f"rotation_degrees ({self.rotation_degrees:g}) has no effect while rotate is false; "
                "set rotate: true or leave rotation_degrees out"
            )
        return self
