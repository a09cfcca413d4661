"""From the bytes of an image file to pixels of mode L or RGB, or of a mask to numbers, whatever the file's format.

Belongs here: limits before decoding, EXIF rotation, colour modes, what a pixel of a mask holds. Does not belong here:
reading files, resizing, what a value of a mask means (``assay.datasets.mask_classes``).
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""What Pillow raises on damaged files, depending on the format."""

FORMATS = (
    *("PNG", "JPEG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "TGA", "PCX", "QOI"),
    *("ICO", "CUR", "ICNS", "SGI", "SUN", "DDS", "PSD", "IM", "MSP", "XBM", "XPM", "FLI", "SPIDER"),
)
"""What is decoded, whatever a file's name; not what Pillow hands to other programs, as it does EPS to Ghostscript."""

_STARTS = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"8BPS", b"qoif"),
    *(b"\xff\x0a", b"\0\0\0\x0cJXL ", b"\0\0\0\x0cjP  "),
)

_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis")
"""Kinds of ISO media files that hold images."""


def starts_like_image(start: bytes) -> bool:
    """Return whether the first 16 bytes of a file are those of an image, read by Assay or not."""
    is_webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    return start.startswith(_STARTS) or is_webp or (start[4:8] == b"ftyp" and start[8:12] in _BRANDS)


_DEEP_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_LEVELS_16_BIT = 65535


def decode(content: bytes, max_pixels: int | None = None) -> Image.Image:
    """Return an image upright, in 8-bit grey (L) or colour (RGB).

    The EXIF rotation is applied. Transparent pixels are laid on white. 16-bit grey is divided by 257, the same for all
    images; stretching each image's own range would lose its brightness. Of several frames the first is taken.

    Args:
        content: Bytes of the file.
        max_pixels: Largest width times height, checked before decoding; None: no limit but Pillow's.

    Raises:
        ValueError: Too many pixels, or pixels that can't be converted to 8 bits.
        Exception: Any of ``DECODE_ERRORS`` from Pillow when the file is damaged.
    """
    return decode_with_oddity(content, max_pixels)[0]


ODDITIES = {
    "frames": "with several frames or pages, of which only the first is used; save each as an image of its own",
    "dark": "with 16 bits of which less than an eighth of the levels are used, nearly black; scale all alike, to 0 to "
    "65535",
}
"""What is lost or hardly seen of an image that can be used, with the words that say so after ``1 image``."""

_OF_FRAMES = ("TIFF", "GIF", "PNG", "WEBP", "AVIF", "FLI")
"""Formats whose further frames are images like the first one, rather than layers, previews or other sizes."""

_DARK = 255 // 8


def decode_with_oddity(content: bytes, max_pixels: int | None = None) -> tuple[Image.Image, int, str]:
    """Return what ``decode`` does, the EXIF orientation that was applied, 1 (none) to 8, and a key of ``ODDITIES``."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        require_pixels(image, max_pixels)
        image.load()
        upright, orientation = eight_bit(ImageOps.exif_transpose(image)), orientation_of(image)
        is_dark = image.mode in _DEEP_GREY and 0 < int(np.asarray(upright).max()) <= _DARK
        has_frames = image.format in _OF_FRAMES and getattr(image, "is_animated", False)
        return upright, orientation, "frames" if has_frames else "dark" if is_dark else ""


def require_pixels(image: Image.Image, max_pixels: int | None) -> None:
    """Check the size of an image that is not decoded yet.

    Raises:
        ValueError: It has more pixels than ``max_pixels``; None is no limit.
    """
    if max_pixels is not None and image.width * image.height > max_pixels:
        size = f"{image.width}x{image.height} = {image.width * image.height:,}"
        raise ValueError(f"has {size} pixels, expected at most {max_pixels:,} (source.max_pixels)")


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of a loaded image, 1 where there is none or it means nothing."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def eight_bit(image: Image.Image) -> Image.Image:
    """Return an image in 8-bit grey (L) or colour (RGB), see ``decode``.

    Raises:
        ValueError: Its pixels can't be converted to 8 bits.
    """
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in _DEEP_GREY:
        return _from_deep_grey(image)
    if image.mode == "F":
        raise ValueError("has floating point pixels, whose range is unknown; save it with 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opaque = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return opaque.convert("L" if image.mode in ("LA", "La") else "RGB")
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.int64)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > _LEVELS_16_BIT:
        raise ValueError(f"has grey levels from {low} to {high}, expected 0 to {_LEVELS_16_BIT}; save it with 16 bits")
    return Image.fromarray(((pixels * 255 + _LEVELS_16_BIT // 2) // _LEVELS_16_BIT).astype(np.uint8))


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


def has_shape_in_alpha(content: bytes) -> bool:
    """Return whether the pixels of an image differ in their transparency."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.mode not in _WITH_ALPHA:
            return False
        low, high = image.getchannel("A").getextrema()
        return low != high


def palette_of(content: bytes) -> bytes:
    """Return red, green and blue of each index of an image; nothing for one without a palette."""
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        return bytes((image.getpalette() or []) if image.mode == "P" else [])


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
