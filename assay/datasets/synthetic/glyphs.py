"""Drawing one number: its font, its soft edge for the image, its hard shape for the mask.

Belongs here: one number by itself. Does not belong here: where it lies, its colour.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from assay.boxes import Box
from assay.datasets.synthetic.backgrounds import package_folder
from assay.errors import DataError

FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmss10",
)
"""Fonts in matplotlib's package that have proper digits."""

_BORDER = 2
_OPEN_FONTS = 256


class Glyph(NamedTuple):
    """A drawn number.

    Attributes:
        alpha: Mode L, how much of each pixel the number covers, 0 to 255.
        ink: Mode L, 255 where the number covers at least half as much as where it covers most, else 0. Masks are
            made from it: a soft edge would blend class numbers into classes that are not there.
        box: Smallest box around the ink, within ``alpha``.
    """

    alpha: Image.Image
    ink: Image.Image
    box: Box


class GlyphPress:
    """Draws numbers; keeps fonts open, since opening one takes as long as drawing."""

    def __init__(self) -> None:
        self._folder = package_folder("matplotlib", "mpl-data", "fonts", "ttf")
        self._font = lru_cache(_OPEN_FONTS)(self._open_font)

    def draw(self, text: str, font: str, font_size_px: int, angle_deg: float) -> Glyph:
        """Return a number in a font, turned counter-clockwise."""
        opened = self._font(font, font_size_px)
        left, top, right, bottom = (round(edge) for edge in opened.getbbox(text))
        alpha = Image.new("L", (right - left + 2 * _BORDER, bottom - top + 2 * _BORDER), 0)
        ImageDraw.Draw(alpha).text((_BORDER - left, _BORDER - top), text, fill=255, font=opened)
        if angle_deg:
            alpha = alpha.rotate(angle_deg, Image.Resampling.BICUBIC, expand=True)
        ink = _ink(alpha)
        box = Box.around(ink)
        if box is None:
            raise DataError(f"Font {font} draws nothing for {text!r} at {font_size_px} px; reinstall matplotlib.")
        return Glyph(alpha, ink, box)

    def _open_font(self, name: str, size_px: int) -> ImageFont.FreeTypeFont:
        path = self._folder / f"{name}.ttf"
        return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)


def _ink(alpha: Image.Image) -> Image.Image:
    most = int(np.asarray(alpha).max())  # thin strokes of small fonts never reach 255
    return alpha.point([255 if 0 < most <= 2 * value else 0 for value in range(256)])
