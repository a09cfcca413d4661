"""COCO's run lengths: masks as the lengths of alternating runs of background and object, column by column.

Belongs here: reading both spellings, and drawing. Does not belong here: whose mask it is.

The compressed spelling is that of COCO's own ``maskApi.c`` (rleToString): from the third run on the difference to the
run before the last, each number in groups of five bits, lowest first, written as characters from ``0`` on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FIRST_CHARACTER = 48
_BITS, _VALUE, _MORE, _SIGN = 5, 0x1F, 0x20, 0x10


@dataclass(frozen=True)
class Runs:
    """A mask of ``height_px`` by ``width_px`` pixels.

    Attributes:
        counts: (n,) lengths; the first is of background and may be 0. They sum to the number of pixels.
        width_px: Width.
        height_px: Height.
    """

    counts: NDArray[np.int64]
    width_px: int
    height_px: int

    def mask(self, width_px: int, height_px: int) -> NDArray[np.bool_]:
        """Return the mask as (height, width); the arguments are the runs' own size."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(width_px, height_px).T


def read_counts(counts: str | list[int]) -> NDArray[np.int64]:
    """Return the lengths of runs from either spelling.

    Raises:
        ValueError: Not a spelling of lengths that are whole and not negative.
    """
    numbers = _decompressed(counts) if isinstance(counts, str) else counts
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its run lengths (counts) are not whole numbers from 0 on")
    return np.array(numbers, np.int64)


def _decompressed(text: str) -> list[int]:
    counts: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - _FIRST_CHARACTER
        if not 0 <= group <= _VALUE | _MORE:
            raise ValueError(f"its run lengths (counts) hold {character!r}, which no compressed text has")
        number |= (group & _VALUE) << shift
        shift += _BITS
        if not group & _MORE:
            number -= (1 << shift) if group & _SIGN else 0
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number = shift = 0
    if shift:
        raise ValueError("its run lengths (counts) end within a number")
    return counts
