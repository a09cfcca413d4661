"""Missing values of a table's columns: what stands for them, fitted once, stored, applied to any rows.

A value is missing where it is null or, in a column of floats, NaN. Belongs here: finding gaps, the values that fill
them, the columns that mark them. Does not belong here: scaling and codes of categories (``scaling``), which rows are
fitted (``assay.stages.normalized``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr

from assay.errors import DataError
from assay.spec.base import Section
from assay.spec.normalized import MissingValues

Value = StrictBool | StrictInt | StrictFloat | StrictStr

MARK = "_missing"
"""End of the name of a column that is 1 where the column of the same beginning has no value."""


class FilledInfo(Section):
    """What stands for the missing values of a column."""

    name: str
    """Column name."""
    value: Value | None = None
    """The value that is put in their place; null: none, since the missing ones are a category of their own."""
    mark: str | None = Field(default=None, exclude_if=lambda mark: mark is None)
    """Name of a further column, which is 1 where the value is missing, else 0; null: none."""

    def apply(self, column: pl.Series) -> list[pl.Series]:
        """Return the column without gaps, as far as a value is put there, and the column that marks them."""
        gaps = missing_in(column)
        marks = [] if self.mark is None else [gaps.cast(pl.Int8).alias(self.mark)]
        return [self._filled(column, gaps), *marks]

    def _filled(self, column: pl.Series, gaps: pl.Series) -> pl.Series:
        if self.value is None or not gaps.any():
            return column
        if isinstance(self.value, float) and not column.dtype.is_float():
            column = column.cast(pl.Float64)  # the median of 1 and 2
        if column.dtype in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        return pl.select(pl.when(gaps).then(pl.lit(self.value)).otherwise(column)).to_series().alias(column.name)


def missing_in(column: pl.Series) -> pl.Series:
    """Return where a column has no value, as Boolean."""
    missing = column.is_null()
    return missing | column.is_nan().fill_null(True) if column.dtype.is_float() else missing


def gap_counts(table: pl.DataFrame, columns: Iterable[str]) -> dict[str, int]:
    """Return how many values are missing in each of the columns that lack some."""
    counts = {name: int(missing_in(table[name]).sum()) for name in columns}
    return {name: count for name, count in counts.items() if count}


def fill_gaps(infos: Iterable[FilledInfo], table: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose gaps are filled, with the columns that mark them at its end."""
    return table.with_columns(column for info in infos for column in info.apply(table[info.name]))


def fit_filling(
    rows: pl.DataFrame, features: Sequence[str], kinds: Mapping[str, str], spec: MissingValues
) -> tuple[FilledInfo, ...]:
    """Return what stands for the missing values of each feature, also of those that have none in these rows.

    Args:
        rows: The rows to fit on.
        features: Columns to fill.
        kinds: How columns are scaled: ``scalar``, ``binary`` or ``categorical``; others stay as they are.
        spec: How gaps are filled; columns for which it refuses them are left out.

    Raises:
        DataError: A column has no value at all in these rows.
    """
    counts, schema, taken = gap_counts(rows, features), rows.schema, set(rows.columns)
    if empty := [name for name, count in counts.items() if count == len(rows)]:
        lines = [f"column {name!r}: no value in any of {len(rows)} rows" for name in empty]
        raise DataError(
            "Columns without any value in train can't be learned from. Leave them out "
            "(generated_images.source.ignore_columns), or split again (splits.seed).",
            lines,
        )
    infos = []
    for name in features:
        kind = kinds.get(name, "scalar" if schema[name].is_numeric() else "binary")
        is_number = kind == "scalar"
        if (spec.numbers if is_number else spec.categories) == "refuse":
            continue
        is_level = kind == "categorical" and spec.categories == "level" and name in counts
        is_marked = name in counts and spec.indicators and not is_level
        mark = _free_name(name, taken) if is_marked else None
        value = None if is_level else _number(rows[name], spec) if is_number else most_frequent(rows[name])
        infos.append(FilledInfo(name=name, value=value, mark=mark))
    return tuple(infos)


def _free_name(column: str, taken: set[str]) -> str:
    name = f"{column}{MARK}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _number(column: pl.Series, spec: MissingValues) -> float:
    if spec.constant is not None:
        return spec.constant
    values = column.filter(~missing_in(column)).cast(pl.Float64)
    return float(values.mean() if spec.numbers == "mean" else values.median())  # type: ignore[arg-type]


def most_frequent(column: pl.Series) -> Any:
    """Return the value that occurs most often, of several the first in sorted order."""
    plain = column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
    counts = plain.drop_nulls().alias("value").value_counts()
    return counts.sort("count", "value", descending=[True, False])["value"][0]


def marked_columns(infos: Iterable[FilledInfo]) -> Mapping[str, str]:
    """Return, by the name of each column that marks gaps, the column that they are in."""
    return {info.mark: info.name for info in infos if info.mark is not None}
