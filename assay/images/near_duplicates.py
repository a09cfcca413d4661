"""Signatures of images, a few bytes that are kept beside each, and the pairs of images that look almost the same.

Belongs here: the signature of one decoded image, and pairs of similar ones. Does not belong here: files, a verdict.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

THUMBNAIL_PX = 16
SIMILARITY = 0.995
"""Correlation of two thumbnails from which on two images count as near duplicates.

Measured: the most similar of 1.1 million pairs of generated pictures have 0.954, of 1.6 million pairs of scikit-learn's
handwritten digits 0.9943. Copies of generated pictures have 0.995 to 1 when saved as JPEG of quality 60 or darkened,
and nearly all do at another size; on the digits, of 8x8 pixels, JPEG below quality 75 can hide a copy.
"""
LEAST_CONTRAST = 2.0
"""Standard deviation, in grey levels, below which an image has no features to compare."""
BLOCK_ROWS = 2048

# An image is first reduced by a whole factor to at least this many thumbnails' sides: at 1024x1024 that takes 0.75 ms
# instead of 1.05. At 4 sides copies of another size were no longer recognized.
_REDUCING_GAP = 8.0

UnitThumbnails = NDArray[np.float32]
"""(n, 256) thumbnails with mean 0 and length 1, so that a product of two is their correlation."""


@dataclass(frozen=True)
class ImageSignature:
    """What is compared of an image.

    Attributes:
        pixels: SHA-256 of mode, size and decoded pixels, as hexadecimal digits: equal for equal images, whatever their
            file format.
        thumbnail: 256 grey levels, the rows of 16x16 pixels; the image's sides are stretched or compressed to fit.
    """

    pixels: str
    thumbnail: bytes


def signature_of(image: Image.Image) -> ImageSignature:
    """Return the signature of an image of mode L or RGB and of any size; 3 ms at 1024x1024."""
    pixels = hashlib.sha256(f"{image.mode} {image.size}".encode())
    pixels.update(image.tobytes())
    side = (THUMBNAIL_PX, THUMBNAIL_PX)
    thumbnail = image.convert("L").resize(side, Image.Resampling.BOX, reducing_gap=_REDUCING_GAP)
    return ImageSignature(pixels.hexdigest(), thumbnail.tobytes())


def unit_thumbnails(thumbnails: Sequence[bytes]) -> UnitThumbnails:
    """Return thumbnails of ``signature_of`` ready to be compared; all 0 where an image has too little contrast."""
    grey = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, THUMBNAIL_PX**2).astype(np.float32)
    centred = grey - grey.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    lengths[lengths < LEAST_CONTRAST * THUMBNAIL_PX] = np.inf
    unit: UnitThumbnails = centred / lengths
    return unit


def similar_pairs(
    thumbnails: UnitThumbnails, subsets: NDArray[np.str_], block_rows: int = BLOCK_ROWS
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs in different subsets that look almost the same, with their correlation.

    One matrix product per block of rows: 10,000 images in about half a second. That is as fast as comparing 64-bit
    perceptual hashes, and finds re-encoded copies whose hashes differ in many bits.

    Args:
        thumbnails: (n, 256) from ``unit_thumbnails``.
        subsets: (n,) subset of each image.
        block_rows: Rows of one product.
    """
    names = np.unique(subsets)
    for position, name in enumerate(names):
        ours = np.flatnonzero(subsets == name)
        others = np.flatnonzero(np.isin(subsets, names[position + 1 :]))
        for start in range(0, len(ours), block_rows):
            block = ours[start : start + block_rows]
            for column in range(0, len(others), block_rows):
                facing = others[column : column + block_rows]
                correlation = thumbnails[block] @ thumbnails[facing].T
                for row, other in np.argwhere(correlation >= SIMILARITY):
                    yield int(block[row]), int(facing[other]), float(correlation[row, other])
