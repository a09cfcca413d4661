"""Source ``table``: from the user's CSV or Parquet file to rows and their index.

Belongs here: what is wrong with columns, naming rows, statistics. Does not belong here: reading the file
(``table_file``), scaling columns (``scaling``).
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.filling import gap_counts, missing_in
from assay.datasets.inspection import SUBSET_NAMES, class_not_in_train, existing_path, subset_of
from assay.datasets.number_texts import as_numbers, finding, is_gap
from assay.datasets.schema import ITEMS_FILE, ROW_ITEM_COLUMNS, TableInfo
from assay.datasets.table_file import lines_are_rows, read_table
from assay.datasets.table_notes import is_text, table_notes
from assay.errors import DataError, unknown
from assay.spec.generated_images import TableSource
from assay.spec.splits import TRAIN
from assay.storage.parquet import read_parquet, storage_type, write_parquet
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize

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
        FileError: The file is no regular file.
    """
    frame, notes = _checked(spec)
    progress(1, 2, "table read")
    rows, items = _rows(frame, spec), _items(frame, spec)
    write_parquet(rows, folder / ROWS_FILE)
    write_parquet(items, folder / ITEMS_FILE)
    features = [name for name in rows.columns if name not in ("item", spec.target_column)]
    TableInfo(spec.target_column, tuple(features)).write(folder)
    progress(2, 2, "table checked")
    return _report(rows, items, spec, features) | ({"warnings": notes} if notes else {})


def check_table_source(spec: TableSource) -> list[str]:
    """Return warnings about the user's table, and refuse it as ``build_table`` does."""
    return _checked(spec)[1]


def _checked(spec: TableSource) -> tuple[pl.DataFrame, list[str]]:
    """Return the table and what a person should know of it.

    Raises:
        DataError, FileError: As ``build_table``.
    """
    frame, notes = read_table(existing_path(spec.path, want_folder=False), spec)
    problems = list(name_problems(frame, spec))
    problems = problems or [*value_problems(frame, spec), *meaning_problems(frame, spec)]
    if problems:
        raise DataError(
            f"source.path {spec.path!r}: {pluralize(len(problems), 'problem')}; nothing was computed.", problems
        )
    return frame, notes + table_notes(frame, _feature_names(frame, spec), spec)


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
    values = frame.select(usable).with_columns(pl.col(pl.Duration).cast(pl.Int64))
    texts = values.select(pl.concat_str([pl.all().cast(pl.String).fill_null(_NULL)], separator=_SEPARATOR))
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
    lists = [("ignore_columns", name) for name in spec.ignore_columns if name]
    lists += [("text_columns", name) for name in spec.text_columns]
    for key, name in [*named.items(), ("group_column", spec.group_column), *lists]:
        if name is not None and name not in frame.columns:
            yield f"source.{key}: {unknown('Column', name, frame.columns)}"
    left_out = {*spec.ignore_columns, spec.subset_column, spec.group_column}
    used = {name: kind for name, kind in frame.schema.items() if name not in left_out}
    for name, kind in used.items():
        if name in RESERVED or name.lower() in RESERVED[:2]:
            yield f"column {name!r}: the name is taken; rename it, or list it in source.ignore_columns"
        if not name:
            yield "a column has no name; name it, or leave it out: source.ignore_columns: ['']"
        if "\0" in name:
            yield f"column {name!r}: the name holds a NUL character; rename it, or list it in source.ignore_columns"
        if problem := _type_problem(kind):
            yield f"column {name!r}: {problem}; or list it in source.ignore_columns"
    yield from _same_but_for_case(used)


def _type_problem(kind: pl.DataType) -> str | None:
    """Return why no values of a type can be used; None if they can."""
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        return f"holds {kind}, expected numbers or texts"
    try:
        storage_type(kind)
    except TypeError:
        is_long = kind.is_integer()
        more = (
            "numbers of more digits than 64 bits hold, such as IDs; list it in source.text_columns to keep it as text"
        )
        return f"holds {kind}, {more if is_long else 'expected numbers or texts'}"
    return None


def _same_but_for_case(names: Iterable[str]) -> Iterator[str]:
    """Yield one line per pair of names that a database takes for one."""
    by_lower = defaultdict(list)
    for name in names:
        by_lower[name.lower()].append(name)
    for same in by_lower.values():
        if len(same) > 1:
            yield f"columns {', '.join(map(repr, same))} have the same name but for case; rename one, or ignore it"


def value_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    """Yield one line per column of which some values can't be used; all columns that the spec names exist."""
    labels = "; if an empty cell is an item without any label: source.null_values: ['NA']"
    are_labels = spec.is_csv and spec.use.are_labels(spec.target_column) and "" in spec.null_values
    yield from _missing("target_column", frame[spec.target_column], spec, labels if are_labels else "")
    if spec.group_column is not None:
        yield from _missing("group_column", frame[spec.group_column], spec)
    if spec.subset_column is not None:
        yield from _subset_problems(frame, spec)
    nulls = frame.null_count().row(0, named=True)
    features = _feature_names(frame, spec)
    yield from (
        f"column {name!r}: holds no value at all; list it in source.ignore_columns"
        for name in features
        if nulls[name] == len(frame)
    )
    yield from _refused_gaps(frame, [name for name in features if spec.use.reads(name)], spec)
    yield from _infinite(frame, [spec.target_column, *features], spec)


def _refused_gaps(frame: pl.DataFrame, features: list[str], spec: TableSource) -> Iterator[str]:
    """Yield a line per feature with gaps that the spec does not want to be filled."""
    missing = spec.use.missing
    for name in gap_counts(frame, features) if "refuse" in (missing.numbers, missing.categories) else ():
        is_number = frame.schema[name].is_numeric() and not spec.use.means_texts(name)
        key, other = ("numbers", "median") if is_number else ("categories", "level")
        if getattr(missing, key) == "refuse" and frame[name].null_count() != len(frame):
            gaps = missing_in(frame[name])
            yield (
                f"column {name!r}: is missing in {gaps.sum()} of {pluralize(len(frame), 'row')} "
                f"({_places(gaps, spec)}), and "
                f"normalized.missing.{key} is 'refuse'; fill them, leave the column out (source.ignore_columns), or "
                f"set normalized.missing.{key}: {other}"
            )


def _feature_names(frame: pl.DataFrame, spec: TableSource) -> list[str]:
    others = {spec.target_column, spec.subset_column, spec.group_column, *spec.ignore_columns}
    return [name for name in frame.columns if name not in others and name != "item"]


def meaning_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    """Yield one line per column whose values would silently be taken for something else than they are."""
    yield from _target_problems(frame, spec)
    schema = frame.schema  # it is made anew whenever it is asked for
    for name in _feature_names(frame, spec):
        kind = schema[name]
        if name == spec.use.target or not spec.use.reads(name):
            continue
        if kind.is_temporal() and not (spec.use.dates_in_parts and isinstance(kind, (pl.Date, pl.Datetime))):
            parts = (
                "" if isinstance(kind, (pl.Duration, pl.Time)) else " let it become parts (normalized.dates: parts),"
            )
            yield (
                f"column {name!r}: holds {kind}, expected numbers, texts or true/false;{parts} turn it into a number "
                "such as days, list it in source.text_columns as categories, or in source.ignore_columns"
            )
        elif _is_doubtful(name, kind, spec) and (found := finding(frame[name], spec)):
            yield (
                f"column {name!r}: {found}; or leave it out: source.ignore_columns, or take its texts for "
                "categories: source.text_columns"
            )


def _is_doubtful(name: str, kind: pl.DataType, spec: TableSource) -> bool:
    """Return whether a column holds texts although nobody said so."""
    return is_text(kind) and name not in spec.text_columns and not spec.use.means_texts(name)


def _target_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    """Yield what is wrong with the column that is predicted, as far as its meaning goes."""
    name = spec.use.target or spec.target_column
    if name not in frame.columns:
        return
    kind, key = frame.schema[name], f"source.target_column {name!r}"
    if kind.is_temporal():
        yield f"{key}: holds {kind}, expected numbers or texts"
    elif spec.use.learning == "regression" and not kind.is_numeric():
        yield f"{key}: {_no_numbers(frame[name], spec)}"
    elif is_text(kind) and name not in spec.text_columns and spec.use.learning in (None, "classification"):
        found = finding(frame[name], spec)
        if found and (spec.use.learning is None or _are_numbers_and_gaps(frame[name], spec)):
            yield f"{key}: {found}; or take its texts for classes: source.text_columns"


def _no_numbers(target: pl.Series, spec: TableSource) -> str:
    """Return why a column is no target of a regression."""
    holds_texts = is_text(target.dtype)
    if holds_texts and (found := finding(target, spec)):
        return f"{found}; task is regression, which needs numbers"
    shown = ", ".join(repr(str(value)[:40]) for value in target.drop_nulls().unique(maintain_order=True)[:3])
    kind = "texts" if holds_texts else target.dtype
    return (
        f"holds {kind} such as {shown}, but task is regression, which needs numbers; "
        "choose another column, or task: classification"
    )


def _are_numbers_and_gaps(target: pl.Series, spec: TableSource) -> bool:
    """Return whether some labels only say that the class is missing, and the others are numbers."""
    gaps = is_gap(target)
    return bool(gaps.any()) and as_numbers(target.filter(~gaps), spec) is not None


def check_stored_rows(spec: TableSource, folder: Path) -> None:
    """Check rows that were stored for another experiment, or by a former version that refused less.

    Args:
        spec: The source, which knows what the experiment does with the columns.
        folder: Result with the rows.

    Raises:
        DataError: A column would be taken for something else than it is.
    """
    problems = list(meaning_problems(read_parquet(folder / ROWS_FILE), spec))
    if problems:
        raise DataError(
            f"source.path {spec.path!r}: {pluralize(len(problems), 'problem')} in the rows as they were "
            "stored. If the file is read "
            "in another way now: generated_images.clear_folder: true.",
            problems,
        )


def _missing(key: str, column: pl.Series, spec: TableSource, advice: str = "") -> Iterator[str]:
    missing = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
    if missing.any():
        yield (
            f"source.{key} {column.name!r}: is missing in {pluralize(int(missing.sum()), 'row')} "
            f"({_places(missing, spec)}){advice}"
        )


def _infinite(frame: pl.DataFrame, names: list[str], spec: TableSource) -> Iterator[str]:
    """Yield a line per column that holds infinity, or a number that no float can hold, such as 1e999."""
    schema = frame.schema
    floats = frame.select(name for name in names if schema[name].is_float())
    ends = zip(floats.columns, floats.min().row(0), floats.max().row(0), strict=True) if floats.width else ()
    for name in (name for name, *both in ends if {-math.inf, math.inf} & set(both)):
        infinite = floats[name].is_infinite().fill_null(False)
        is_target = name == spec.target_column
        where, remedy = (
            (f"source.target_column {name!r}", "")
            if is_target
            else (f"column {name!r}", ", or list the column in source.ignore_columns")
        )
        yield (
            f"{where}: is infinite, or too large a number, in {infinite.sum()} of {pluralize(len(frame), 'row')} "
            f"({_places(infinite, spec)}); write a finite number there, or remove these rows{remedy}"
        )


def _places(marked: pl.Series, spec: TableSource) -> str:
    """Return where the first marked rows are: lines of the file, as editors count them, or else rows of the table."""
    are_lines = lines_are_rows(spec, len(marked))
    numbers = [f"{index + (2 if are_lines else 1):,}" for index in marked.arg_true()[:_SHOWN]]
    word = ("line" if are_lines else "row") + ("s" if len(numbers) > 1 else "")
    more = ", …" if marked.sum() > _SHOWN else ""
    return f"{word} {', '.join(numbers)}{more} of the {'file' if are_lines else 'table'}"


def item_place(item: str) -> str:
    """Return where to look for an item: its name, and which row of a table it is, since names count from 0."""
    is_row = len(item) == _ITEM_DIGITS and item.isdecimal()
    return f"item {item!r}, row {int(item) + 1:,} of the table" if is_row else f"item {item!r}"


def _subset_problems(frame: pl.DataFrame, spec: TableSource) -> Iterator[str]:
    given = frame[str(spec.subset_column)].cast(pl.String)
    known = names_of_subsets(given).is_not_null()
    if not known.all():
        values = sorted({str(value) for value in given.filter(~known)})[:_SHOWN]
        yield (
            f"source.subset_column {spec.subset_column!r}: {', '.join(map(repr, values))} in "
            f"{pluralize(int((~known).sum()), 'row')} "
            f"({_places(~known, spec)}), expected {', '.join(sorted(SUBSET_NAMES))}"
        )
    elif not frame[spec.target_column].dtype.is_numeric():
        yield from _classes_not_in_train(names_of_subsets(given), frame[spec.target_column].cast(pl.String))


def names_of_subsets(given: pl.Series) -> pl.Series:
    """Return our names of the subsets that a column gives, null where it gives none."""
    texts = given.cast(pl.String).str.strip_chars()
    names = {text: subset_of(text) for text in texts.drop_nulls().unique()}
    return texts.replace_strict(names, default=None, return_dtype=pl.String) if names else texts


def _classes_not_in_train(subsets: pl.Series, target: pl.Series) -> Iterator[str]:
    known = set(target.filter(subsets == TRAIN).drop_nulls())
    for subset in sorted(set(subsets) - {TRAIN}) if TRAIN in set(subsets) else ():
        for name in sorted(set(target.filter(subsets == subset).drop_nulls()) - known):
            yield class_not_in_train(name, subset, known)
