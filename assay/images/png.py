"""PNG bytes, fast.

Encoding is the largest cost of generating images. Pillow tries all five row filters on every row; one fixed filter
and run-length deflate take less than half the time for about the same size on photos.

Belongs here: encoding 8-bit images, and which files need no encoding since they are such images already. Does not
belong here: what is in them, where the bytes go.
"""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {"L": 0, "RGB": 2}
_UP = 2
_FASTEST = 1
_WINDOW_BITS, _MEMORY_LEVEL = 15, 9


_HEADER_BYTES = 13
_NEUTRAL = frozenset((b"IDAT", b"IEND", b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB", b"iCCP"))
"""Chunks that neither rotate an image, nor make it transparent or move it; Assay applies no colour profiles."""


def size_of_plain_png(content: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG file that holds exactly what ``encode_png`` writes; None if it is another file.

    It is 8-bit grey or colour, of one frame, without transparency and without anything that could hold an orientation.
    Only its chunks are looked at, not its pixels: whether it is damaged must be known.

    Args:
        content: Bytes of a file of any kind.
    """
    kind, header = content[12:16], content[16 : 16 + _HEADER_BYTES]
    if content[:8] != _SIGNATURE or kind != b"IHDR" or len(header) < _HEADER_BYTES:
        return None
    width, height, *form = struct.unpack(">IIBBBBB", header)
    if form not in ([8, colour_type, 0, 0, 0] for colour_type in _COLOUR_TYPE.values()):
        return None
    place = 8 + 12 + _HEADER_BYTES
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, place) if place + 8 <= len(content) else (0, b"")
        if kind not in _NEUTRAL and not (kind == b"tEXt" and _is_remark(content[place + 8 : place + 8 + length])):
            return None
        place += 12 + length
    return (width, height) if place == len(content) else None


def _is_remark(text: bytes) -> bool:
    """Return whether a text is none of those in which tools keep EXIF or XMP data: ``Raw profile type exif``."""
    keyword = text.partition(b"\0")[0]
    return keyword.replace(b" ", b"").isalnum() and not keyword.lower().startswith((b"raw", b"exif", b"xmp"))


def encode_png(image: Image.Image, level: int = _FASTEST) -> bytes:
    """Return the PNG file of an image; equal pixels give equal bytes.

    Args:
        image: 8-bit image of mode L or RGB.
        level: zlib's level, 0 (stored) to 9 (smallest). Up to 1 by the fast writer, above by Pillow's.

    Raises:
        ValueError: The image has another mode.
    """
    if image.mode not in _COLOUR_TYPE:
        raise ValueError(f"encode_png takes images of mode L or RGB, not {image.mode}; convert it first")
    if level > _FASTEST:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=level)
        return buffer.getvalue()
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, _COLOUR_TYPE[image.mode], 0, 0, 0)
    compressor = zlib.compressobj(level, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_RLE)
    data = compressor.compress(_filter_up(np.asarray(image)).data) + compressor.flush()
    return b"".join((_SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b"")))


def _filter_up(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return each row as its difference to the row above, preceded by the filter's number.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.

    Returns:
        (H, 1 + bytes per row) uint8; differences wrap around, as the PNG specification's filter type 2 wants.
    """
    rows = pixels.reshape(len(pixels), -1)
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))
