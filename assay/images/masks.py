"""Masks as arrays of numbers, whatever the kind of image file.

Belongs here: what a pixel's value is. Does not belong here: what a value means (``assay.datasets.mask_classes``),
resizing masks.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from assay.images.decoding import FORMATS, require_pixels

MaskValues = NDArray[np.int32]
"""(height, width) values of pixels."""

_NUMBERS = ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")

_WITH_ALPHA = {"LA": "L", "RGBA": "RGB"}


def read_mask(content: bytes, max_pixels: int | None = None) -> MaskValues:
    """Return the value of every pixel of a mask, upright.

    The value is the index into the palette (its colours don't matter), the grey level of 8 or 16 bits, 0 or 1 of one
    bit, and ``red << 16 | green << 8 | blue`` of a colour; transparency is left out.

    Args:
        content: Bytes of the image file.
        max_pixels: Largest width times height, checked before decoding; None: no limit but Pillow's.

    Raises:
        ValueError: Too many pixels, pixels that are neither whole numbers nor colours, or JPEG, which changes values.
        Exception: Any of ``assay.images.decoding.DECODE_ERRORS`` when the file is damaged.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.format in ("JPEG", "MPO"):
            raise ValueError("is a JPEG, which changes the values of pixels; save masks as PNG")
        require_pixels(image, max_pixels)
        image.load()
        return values_of(ImageOps.exif_transpose(image))


def has_colours(content: bytes) -> bool:
    """Return whether the values of a mask are packed colours."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return image.mode in ("RGB", "RGBA")


def values_of(mask: Image.Image) -> MaskValues:
    """Return the value of every pixel of a decoded mask, as ``read_mask`` does."""
    if mask.mode in _NUMBERS:
        return np.asarray(mask).astype(np.int32)
    if mask.mode in _WITH_ALPHA:
        return values_of(mask.convert(_WITH_ALPHA[mask.mode]))
    if mask.mode == "RGB":
        red, green, blue = np.moveaxis(np.asarray(mask).astype(np.int32), -1, 0)
        packed: MaskValues = red << 16 | green << 8 | blue
        return packed
    raise ValueError(f"has pixels of mode {mask.mode}, expected indices, grey levels or colours (RGB)")
