"""Masks as class indices: what the values of pixels mean to a model.

Belongs here: from values (``assay.mask_values``) and their meanings (mask_classes.parquet) to indices. Does not belong
here: which classes a model has, sizes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.datasets.schema import CLASS, IGNORE, MASK_CLASSES_FILE
from assay.errors import DataError
from assay.mask_values import MaskValues, read_mask
from assay.own_data.pixels import DECODE_ERRORS
from assay.tables import read_parquet

IGNORED = 255
"""Index of pixels whose truth is unknown."""

LARGEST_IN_TABLE = 0xFFFF
"""Largest value that is looked up in a table, six times as fast as a search; colours are larger."""

ClassMap = NDArray[np.uint8]
"""(height, width): 0 background, 1 to k the classes, 255 unknown."""


class MaskMeanings:
    """From values of pixels to class indices."""

    def __init__(self, values: Sequence[int], indices: Sequence[int]) -> None:
        self._values = values
        self._indices = np.asarray(indices, np.uint8)

    def apply(self, values: MaskValues) -> ClassMap:
        """Return class indices of the same shape.

        Raises:
            DataError: A value has no meaning.
        """
        places = places_of(values, self._values)
        if places.size and places.max() == len(self._values):
            unknown = values[places == len(self._values)][0]
            raise DataError(f"A mask has the value {unknown}, which {MASK_CLASSES_FILE} does not name.")
        indices: ClassMap = self._indices.take(places)
        return indices


def places_of(values: MaskValues, known: Sequence[int]) -> NDArray[np.int32]:
    """Return the place of each value among those known, and their number for any other.

    Args:
        values: Of any shape.
        known: All different.
    """
    if not known:
        return np.zeros(values.shape, np.int32)
    if min(known) < 0 or max(known) > LARGEST_IN_TABLE:
        order = np.argsort(known)
        nearest = np.searchsorted(known, values, sorter=order).clip(max=len(known) - 1)
        return np.where(np.asarray(known)[order[nearest]] == values, order[nearest], len(known)).astype(np.int32)
    table = np.full(max(known) + 2, len(known), np.int32)
    table[list(known)] = np.arange(len(known))
    places: NDArray[np.int32] = table.take(np.clip(values, -1, max(known) + 1))  # both ends: none of them
    return places


def read_meanings(folder: Path, classes: Sequence[str], mapping: Mapping[str, str]) -> MaskMeanings:
    """Return what the values of a data set's masks mean to a model; labels of no class are background.

    Args:
        folder: Result folder of ``splits``.
        classes: The model's classes in their order.
        mapping: Class of each label.
    """
    places = {label: 1 + classes.index(name) for label, name in mapping.items()}
    table = read_parquet(folder / MASK_CLASSES_FILE)
    indices = [
        IGNORED if role == IGNORE else places.get(label, 0) if role == CLASS else 0
        for label, role in table.select("label", "role").iter_rows()
    ]
    return MaskMeanings(table["value"].to_list(), indices)


def read_values(path: Path) -> MaskValues:
    """Return the values of a mask file's pixels.

    Raises:
        DataError: It can't be read; names it, and why.
    """
    try:
        return read_mask(path.read_bytes())
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the mask can't be read ({error}). Materialize splits again.") from error
