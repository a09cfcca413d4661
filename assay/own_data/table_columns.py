"""What is wrong with the columns of a user's table, all of it at once.

Belongs here: judging names, types and values. Does not belong here: reading the file.
"""

from collections.abc import Iterator

import polars as pl

from assay.errors import unknown
from assay.own_data.layout import SUBSET_NAMES, class_not_in_train
from assay.spec.own_data import TableSource
from assay.spec.splits import TRAIN

RESERVED = ("item", "subset", "image")
"""Names of columns that the stages add."""

_SHOWN = 5


def name_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    """Yield one line per column that the spec names but the table lacks, or that can't be used as it is."""
    named = {"target_column": spec.target_column, "subset_column": spec.subset_column}
    for key, name in [*named.items(), ("group_column", spec.group_column), *_ignored(spec)]:
        if name is not None and name not in frame.columns:
            yield f"source.{key}: {unknown('Column', name, frame.columns)}"
    for name, kind in frame.schema.items():
        if name in spec.ignore_columns or name in (spec.subset_column, spec.group_column):
            continue
        if name in RESERVED:
            yield f"column {name!r}: the name is taken; rename it, or list it in source.ignore_columns"
        if kind.is_nested() or kind in (pl.Binary, pl.Object):
            yield f"column {name!r}: holds {kind}, expected numbers or texts; or list it in source.ignore_columns"


def _ignored(spec: TableSource) -> list[tuple[str, str]]:
    return [("ignore_columns", name) for name in spec.ignore_columns]


def value_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    """Yield one line per column of which some values can't be used; all columns that the spec names exist."""
    target = frame[spec.target_column]
    if target.dtype.is_temporal():
        yield f"source.target_column {spec.target_column!r}: holds {target.dtype}, expected numbers or texts"
    yield from _missing("target_column", target)
    if spec.group_column is not None:
        yield from _missing("group_column", frame[spec.group_column])
    if spec.subset_column is not None:
        yield from _subset_problems(frame, spec)


def _missing(key: str, column: pl.Series) -> Iterator[str]:
    missing = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
    if missing.any():
        yield f"source.{key} {column.name!r}: is missing in {missing.sum()} rows ({row_numbers(missing)})"


def row_numbers(marked: pl.Series) -> str:
    """Return the first marked rows, counted from 1 as a person counts them below the header."""
    rows = [str(index + 1) for index in marked.arg_true()[:_SHOWN]]
    more = ", …" if marked.sum() > _SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}{more}"


def _subset_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    given = frame[str(spec.subset_column)].cast(pl.String)
    known = given.str.strip_chars().str.to_lowercase().is_in(list(SUBSET_NAMES)).fill_null(False)
    if not known.all():
        values = sorted({str(value) for value in given.filter(~known)})[:_SHOWN]
        yield (
            f"source.subset_column {spec.subset_column!r}: {', '.join(map(repr, values))} in {(~known).sum()} rows "
            f"({row_numbers(~known)}), expected {', '.join(sorted(SUBSET_NAMES))}"
        )
    elif not frame[spec.target_column].dtype.is_numeric():
        yield from _classes_not_in_train(subset_names(given), frame[spec.target_column].cast(pl.String))


def subset_names(given: pl.Series) -> pl.Series:
    """Return our names of the subsets that a column gives."""
    return given.cast(pl.String).str.strip_chars().str.to_lowercase().replace(SUBSET_NAMES)


def _classes_not_in_train(subsets: pl.Series, target: pl.Series) -> Iterator[str]:
    known = set(target.filter(subsets == TRAIN).drop_nulls())
    for subset in sorted(set(subsets) - {TRAIN}) if TRAIN in set(subsets) else ():
        for name in sorted(set(target.filter(subsets == subset).drop_nulls()) - known):
            yield class_not_in_train(name, subset, known)
