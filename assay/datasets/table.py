"""Source ``table``: from the user's CSV or Parquet file to rows and their index.

Belongs here: reading, what is wrong with columns, naming rows, statistics. Does not belong here: scaling columns
(``scaling``).
"""

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.inspection import SUBSET_NAMES, class_not_in_train, existing_path
from assay.datasets.schema import ITEMS_FILE, ROW_ITEM_COLUMNS, TableInfo
from assay.errors import DataError, unknown
from assay.spec.generated_images import TableSource
from assay.spec.splits import TRAIN
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent

ROWS_FILE = "rows.parquet"

_ITEM_DIGITS = 9
"""Digits of a row's number: enough that rows added later don't rename the others."""

_SEPARATOR, _NULL = "\x1f", "\x00"
"""Stand between a row's values, and for a missing one, in the text that is hashed."""

_MOST_CLASSES = 100


def build_table(spec: TableSource, seed: int, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Copy the user's table into ``folder``, with a name for each row, and return statistics about it.

    Writes rows.parquet (item, target and features), items.parquet (item, hash, label, given subset and group) and
    table.json (the roles of the columns). The columns of subset and group are left out of the rows: no model may learn
    from them.

    Raises:
        DataError: The file can't be read, or columns can't be used: all of them, by name and reason.
    """
    path = existing_path(spec.path, want_folder=False)
    frame = _read(path, spec)
    progress(1, 2, "table read")
    problems = list(name_problems(frame, spec))
    problems = problems or list(value_problems(frame, spec))
    if problems:
        raise DataError(f"source.path {spec.path!r}: {len(problems)} problems; nothing was computed.", problems)
    rows, items = _rows(frame, spec), _items(frame, spec)
    write_parquet(rows, folder / ROWS_FILE)
    write_parquet(items, folder / ITEMS_FILE)
    features = [name for name in rows.columns if name not in ("item", spec.target_column)]
    TableInfo(spec.target_column, tuple(features)).write(folder)
    progress(2, 2, "table checked")
    return _report(rows, items, spec, features)


def _read(path: Path, spec: TableSource) -> pl.DataFrame:
    try:
        if spec.is_csv:
            _check_header(path, spec)
            frame = pl.read_csv(
                path, separator=spec.delimiter, null_values=list(spec.null_values), infer_schema_length=None
            )
        else:
            frame = pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"source.path {spec.path!r} can't be read as {path.suffix[1:]}: {reason}") from error
    if frame.is_empty():
        raise DataError(f"source.path {spec.path!r} holds no row.")
    return frame


def _check_header(path: Path, spec: TableSource) -> None:
    """Refuse names given twice, which Polars would rename silently."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file, delimiter=spec.delimiter), [])
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"source.path {spec.path!r}: column {', '.join(map(repr, twice))} is given twice; rename one.")


def _rows(frame: pl.DataFrame, spec: TableSource) -> pl.DataFrame:
    left_out = {*spec.ignore_columns, spec.subset_column, spec.group_column}
    kept = [name for name in frame.columns if name not in left_out]
    return frame.select(_item_names(len(frame)), *kept)


def _item_names(count: int) -> pl.Series:
    return pl.Series("item", [f"{row:0{_ITEM_DIGITS}d}" for row in range(count)], dtype=pl.String)


def _items(frame: pl.DataFrame, spec: TableSource) -> pl.DataFrame:
    target = frame[spec.target_column]
    none = pl.Series([None] * len(frame), dtype=pl.String)
    columns = {
        "item": _item_names(len(frame)),
        "sha256": _row_hashes(frame),
        "label": none if target.dtype.is_float() else target.cast(pl.String),
        "given_subset": none if spec.subset_column is None else names_of_subsets(frame[spec.subset_column]),
        "given_group": none if spec.group_column is None else frame[spec.group_column].cast(pl.String),
    }
    return pl.DataFrame(columns, schema=dict(ROW_ITEM_COLUMNS))


def _row_hashes(frame: pl.DataFrame) -> list[str]:
    """Return the SHA-256 of each row's values as text."""
    usable = [
        name for name, kind in frame.schema.items() if not kind.is_nested() and kind not in (pl.Binary, pl.Object)
    ]
    texts = frame.select(pl.concat_str([pl.col(usable).cast(pl.String).fill_null(_NULL)], separator=_SEPARATOR))
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts.to_series()]


def _report(rows: pl.DataFrame, items: pl.DataFrame, spec: TableSource, features: list[str]) -> dict[str, Any]:
    counts = items["label"].drop_nulls().value_counts().sort("label")
    return {
        "root": ".",
        "rows": len(rows),
        "target_column": spec.target_column,
        "features": features,
        "column_types": {name: str(kind) for name, kind in rows.schema.items() if name != "item"},
        "labels": dict(counts.iter_rows()) if len(counts) <= _MOST_CLASSES else {},
        "given_subsets": dict(items["given_subset"].drop_nulls().value_counts().sort("given_subset").iter_rows()),
        "equal_rows": len(items) - items["sha256"].n_unique(),
    }


RESERVED = ("item", "subset", "image")
"""Names of the columns that stages add."""

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
        yield from _classes_not_in_train(names_of_subsets(given), frame[spec.target_column].cast(pl.String))


def names_of_subsets(given: pl.Series) -> pl.Series:
    """Return our names of the subsets that a column gives."""
    return given.cast(pl.String).str.strip_chars().str.to_lowercase().replace(SUBSET_NAMES)


def _classes_not_in_train(subsets: pl.Series, target: pl.Series) -> Iterator[str]:
    known = set(target.filter(subsets == TRAIN).drop_nulls())
    for subset in sorted(set(subsets) - {TRAIN}) if TRAIN in set(subsets) else ():
        for name in sorted(set(target.filter(subsets == subset).drop_nulls()) - known):
            yield class_not_in_train(name, subset, known)
