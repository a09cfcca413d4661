"""How pictures are named and described: JSON labels, rows of items.parquet and objects.parquet.

Belongs here: names, the columns of objects and their types. Does not belong here: drawing, the loop over pictures.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from assay.datasets import schema as items
from assay.datasets.schema import Columns
from assay.datasets.synthetic.picture import BACKGROUND_INDEX, DrawnNumber, NumberPicture
from assay.looks import Look

OBJECT_COLUMNS: Columns = {
    **items.OBJECT_COLUMNS,
    "rotation_deg": pl.Float64,
    "font": pl.String,
    "font_size_px": pl.Int32,
    "color": pl.String,
}
"""One row per number; what boxes of all sources have, and how the number was drawn."""

_ROWS_PER_FRAME = 4096


def item_name(index: int) -> str:
    """Return the name of picture ``index``; names sort like indices."""
    return f"{index:06d}"


def item_row(item: str, picture: NumberPicture, sha256: str, look: Look, has_mask: bool) -> dict[str, Any]:
    """Return the picture's row of items.parquet."""
    return {
        "item": item,
        "file": f"images/{item}.png",
        "mask": f"masks/{item}.png" if has_mask else None,
        "width_px": picture.image.width,
        "height_px": picture.image.height,
        "sha256": sha256,
        "pixels": look.pixels,
        "thumbnail": look.thumbnail,
        "label": None,
        "labelled": True,
        "folder": "",
        "background": picture.background,
        "given_subset": None,
    }


def object_rows(item: str, picture: NumberPicture) -> list[dict[str, Any]]:
    """Return one row of objects.parquet per visible number."""
    return [
        {"item": item, "object": position, "crowd": False, **describe(number)}
        for position, number in enumerate(picture.numbers)
    ]


def mask_classes(max_number: int) -> pl.DataFrame:
    """Return mask_classes.parquet: each number below ``max_number`` is its own value in masks."""
    numbers = [(number, str(number), items.CLASS) for number in range(max_number)]
    rows = [*numbers, (BACKGROUND_INDEX, None, items.BACKGROUND)]
    return pl.DataFrame(rows, schema=dict(items.MASK_CLASS_COLUMNS), orient="row")


def describe(number: DrawnNumber) -> dict[str, Any]:
    """Return a number's label, box and look as plain values; label file and table use the same names."""
    return {
        "label": str(number.number),
        **number.box._asdict(),
        "rotation_deg": number.rotation_deg,
        "font": number.font,
        "font_size_px": number.font_size_px,
        "color": "#{:02x}{:02x}{:02x}".format(*number.color),
    }


def label_text(item: str, picture: NumberPicture) -> str:
    """Return the picture's JSON label; boxes include their last row and column."""
    content = {
        "image": f"images/{item}.png",
        "width_px": picture.image.width,
        "height_px": picture.image.height,
        "background": picture.background,
        "objects": [describe(number) for number in picture.numbers],
    }
    return json.dumps(content, indent=1) + "\n"


class RowCollector:
    """Gathers rows of one table in compact form: a row of a Python dict takes ten times the memory."""

    def __init__(self, columns: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self._schema = dict(columns)
        self._frames: list[pl.DataFrame] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows."""
        self._rows.extend(dict(row) for row in rows)
        if len(self._rows) >= _ROWS_PER_FRAME:
            self._pack()

    def frame(self) -> pl.DataFrame:
        """Return all rows in the order in which they came, with the declared types even when there are none."""
        self._pack()
        return pl.concat(self._frames)

    def _pack(self) -> None:
        self._frames.append(pl.DataFrame(self._rows, schema=self._schema))
        self._rows = []
