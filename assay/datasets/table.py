"""Source ``table``: from the user's CSV or Parquet file to rows and their index.

Belongs here: reading, naming rows, statistics. Does not belong here: judging columns (``table_columns``).
"""

import csv
import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.schema import ITEMS_FILE, ROW_ITEM_COLUMNS
from assay.errors import DataError
from assay.own_data.places import existing_path
from assay.own_data.table_columns import name_problems, subset_names, value_problems
from assay.progress import Progress, silent
from assay.spec.own_data import TableSource
from assay.table_info import TableInfo
from assay.tables import write_parquet

ROWS_FILE = "rows.parquet"
_ITEM_DIGITS = 9
"""Of a row's number: wide enough that rows added later don't rename the others."""
_BETWEEN, _NULL = "\x1f", "\x00"
_MOST_CLASSES = 100


def build_table(spec: TableSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Copy the user's table into ``folder``, with a name for each row, and return statistics about it.

    Writes rows.parquet (item, target and features), items.parquet (item, hash, label, given subset and group) and
    table.json (which column is the target). Columns that say subset or group are not among the rows: no model may
    learn from them.

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
    """Refuse names given twice, which Polars would rename in silence."""
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
        "given_subset": none if spec.subset_column is None else subset_names(frame[spec.subset_column]),
        "given_group": none if spec.group_column is None else frame[spec.group_column].cast(pl.String),
    }
    return pl.DataFrame(columns, schema=dict(ROW_ITEM_COLUMNS))


def _row_hashes(frame: pl.DataFrame) -> list[str]:
    """Return the SHA-256 of each row's values as text."""
    usable = [
        name for name, kind in frame.schema.items() if not kind.is_nested() and kind not in (pl.Binary, pl.Object)
    ]
    texts = frame.select(pl.concat_str([pl.col(usable).cast(pl.String).fill_null(_NULL)], separator=_BETWEEN))
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
