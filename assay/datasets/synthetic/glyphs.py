"""One number as pixels, and colours: of the number, and random changes of those of the photo behind it.

Belongs here: fonts, the soft edge for the image and the hard shape for the mask; brightness, contrast, hue, blur and
sharpening. Does not belong here: where a number lies (``picture``), geometry of photos (``backgrounds``).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

from assay.datasets.synthetic.backgrounds import package_folder
from assay.errors import DataError
from assay.images.boxes import Box
from assay.spec.generated_images import PhotoAugmentation

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


class GlyphRenderer:
    """Draws numbers; keeps fonts open, since opening a font takes as long as drawing a number."""

    def __init__(self) -> None:
        self._folder = package_folder("matplotlib", "mpl-data", "fonts", "ttf")
        self._font = lru_cache(_OPEN_FONTS)(self._open_font)

    def draw(self, text: str, font: str, font_size_px: int, angle_deg: float) -> Glyph:
        """Return a number in a font, rotated counter-clockwise.

        Raises:
            DataError: The font draws nothing for it.
        """
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


LUMINANCE = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in how light a colour looks (ITU-R BT.601)."""

_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""RGB to luminance and two colour axes (NTSC): changing the hue rotates them, changing the saturation scales them."""

_COLOUR_TRIES = 50


def augment_colours(photo: Image.Image, rng: np.random.Generator, augmentation: PhotoAugmentation) -> Image.Image:
    """Return the photo (RGB) with random changes of colour and sharpness, of the kinds that are enabled."""
    matrix, offset = _random_colour_matrix(rng, augmentation)
    if not (np.array_equal(matrix, np.eye(3)) and offset == 0):
        photo = photo.convert("RGB", tuple(np.column_stack([matrix, np.full(3, offset)]).ravel().tolist()))
    if augmentation.contrast and rng.random() < 0.15:
        photo = ImageOps.equalize(photo) if rng.random() < 0.5 else ImageOps.autocontrast(photo, cutoff=2)
    return _random_filter(photo, rng, augmentation)


def random_colour(background: NDArray[np.uint8], min_contrast: float, rng: np.random.Generator) -> tuple[int, int, int]:
    """Return a random colour that stands out from a background.

    Args:
        background: (H, W, 3) uint8, what the number will lie on.
        min_contrast: Least difference of luminance, 0 to 127 levels; black or white always differs by as much.
        rng: Source of randomness.
    """
    behind = float(background.reshape(-1, 3).mean(axis=0) @ LUMINANCE)
    for _ in range(_COLOUR_TRIES):
        red, green, blue = rng.integers(0, 255, 3, endpoint=True).tolist()
        if abs(float(LUMINANCE @ (red, green, blue)) - behind) >= min_contrast:
            return red, green, blue
    return (0, 0, 0) if behind > 127.5 else (255, 255, 255)


def _random_colour_matrix(
    rng: np.random.Generator, augmentation: PhotoAugmentation
) -> tuple[NDArray[np.float64], float]:
    """Return random brightness, contrast and hue as one (3, 3) matrix and one offset for all channels."""
    matrix, offset = np.eye(3), 0.0
    if augmentation.contrast and rng.random() < 0.6:
        contrast = rng.uniform(0.65, 1.35)
        matrix, offset = matrix * contrast, 128 * (1 - contrast)  # grey 128 stays
    if augmentation.brightness and rng.random() < 0.6:
        offset += rng.uniform(-40.0, 40.0)
    if augmentation.hue and rng.random() < 0.7:
        tint = np.diag(rng.uniform(0.8, 1.2, 3))
        matrix = matrix @ tint @ _hue_matrix(rng.uniform(-math.pi, math.pi), rng.uniform(0.3, 1.6))
    return matrix, offset


def _hue_matrix(angle: float, saturation: float) -> NDArray[np.float64]:
    """Return the (3, 3) matrix on RGB that rotates the hue (radians), scales the saturation and keeps luminance."""
    turn = np.eye(3)
    turn[1:, 1:] = saturation * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix: NDArray[np.float64] = np.linalg.inv(_YIQ) @ turn @ _YIQ
    return matrix


def _random_filter(photo: Image.Image, rng: np.random.Generator, augmentation: PhotoAugmentation) -> Image.Image:
    """Blur, sharpen or emboss some photos at random; radii are in pixels of the photo."""
    chance = rng.random()
    if augmentation.blur and chance < 0.15:
        return photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.0)))
    if augmentation.sharpen and 0.15 <= chance < 0.27:
        return photo.filter(ImageFilter.UnsharpMask(radius=2, percent=int(rng.integers(80, 200, endpoint=True))))
    if augmentation.sharpen and 0.27 <= chance < 0.3:
        return photo.filter(ImageFilter.EMBOSS)
    return photo
