"""What is in each mask: its size and the values of its pixels.

Belongs here: looking into files. Does not belong here: what values mean (``mask_meanings``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assay.datasets.inspection import in_words
from assay.mask_values import MaskValues, has_colours, read_mask
from assay.own_data.pixels import DECODE_ERRORS
from assay.parallel import map_in_order, usable_cores
from assay.progress import Progress

_FEW = 65536


@dataclass(frozen=True)
class MaskContent:
    """What is in one mask; ``problem`` says why it can't be used, and is empty when it can.

    Attributes:
        size: Width and height, upright.
        counts: Number of pixels by value.
        is_colour: Whether values are packed colours.
        problem: A clause.
    """

    size: tuple[int, int] = (0, 0)
    counts: tuple[tuple[int, int], ...] = ()
    is_colour: bool = False
    problem: str = ""


def inspect_masks(root: Path, masks: Sequence[str | None], progress: Progress) -> list[MaskContent | None]:
    """Look into every mask in threads and return what is in it, in the order of ``masks``; None where there is none."""
    found: list[MaskContent | None] = []
    for one in map_in_order(lambda mask: _inspect(root / mask) if mask else None, masks, usable_cores()):
        found.append(one)
        progress(len(found), len(masks), "masks checked")
    return found


def _inspect(path: Path) -> MaskContent:
    try:
        content = path.read_bytes()
        values = read_mask(content)
    except DECODE_ERRORS as error:
        return MaskContent(problem=in_words(error))
    height, width = values.shape
    return MaskContent((width, height), _counts(values), has_colours(content))


def _counts(values: MaskValues) -> tuple[tuple[int, int], ...]:
    if values.min() >= 0 and values.max() < _FEW:
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return tuple(zip(found.tolist(), counts[found].tolist(), strict=True))
    unique, numbers = np.unique(values, return_counts=True)
    return tuple(zip(unique.tolist(), numbers.tolist(), strict=True))
