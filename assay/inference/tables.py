"""Rows to predict: the user's tables, read and scaled as the training's were.

Belongs here: reading tables in parts, which columns are needed, scaling. Does not belong here: pictures
(``pictures``), the network (``model``).
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from assay.datasets.dates import with_parts
from assay.datasets.filling import fill_gaps, missing_in
from assay.datasets.number_texts import as_numbers
from assay.datasets.scaling import BinaryInfo, CategoricalInfo, NormalizationInfo, NormInfo
from assay.datasets.table_file import LINE_BREAKS, POLARS_ERRORS, read_table
from assay.errors import DataError, nearest
from assay.inference.stored import StoredModel
from assay.spec.generated_images import TABLE_EXTENSIONS, TableSource
from assay.stages.normalized import apply_scaling, unusable_values
from assay.utils.text import pluralize

ROWS_AT_ONCE = 65_536
"""Rows of a Parquet file that are in memory at once."""

_ITEM_DIGITS = 9
_MOST_LOOKED_AT = 1000
NUMBERS = "numbers"


def table_parts(model: StoredModel, path: Path) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Yield the rows of a file in parts, each with what a person should know of how it was read.

    Parquet comes as it is read; a CSV file, whose types depend on all rows, at once.

    Raises:
        DataError: The file is no table, or can't be read as the training's file was.
    """
    if path.suffix.lower() not in TABLE_EXTENSIONS:
        raise DataError(f"{path}: expected a table, a file that ends in .csv or .parquet.")
    if not path.is_file():
        raise DataError(f"{path} does not exist, or is no file. Give a CSV or Parquet file.")
    source = _source_for(model, path)
    if source.is_csv:
        try:
            rows, notes = read_table(path, source)
        except DataError as error:
            told = str(error).replace("source.path ", "").replace(repr(str(path)), str(path))
            raise DataError(f"{told.rstrip('.')}. It is read as the training's table was: {_form(source)}.") from error
        about = tuple(f"column {name!r}: " for name in model.columns)
        yield rows, [note for note in notes if note.startswith(about) or LINE_BREAKS in note]
        return
    first = 0
    try:
        table = _with_texts(pl.scan_parquet(path, glob=False), model.source.get("text_columns", ()))
        while not (part := table.slice(first, ROWS_AT_ONCE).collect()).is_empty() or not first:
            yield part, []
            first += ROWS_AT_ONCE
    except (OSError, *POLARS_ERRORS) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path} can't be read as Parquet: {reason}") from error


def _form(source: TableSource) -> str:
    """Return how a CSV file has to be written."""
    thousands = f", {source.thousands!r} between thousands" if source.thousands else ""
    signs = f"{source.delimiter!r} between values, {source.decimal!r} before decimals{thousands}"
    return f"{signs}, {source.encoding or 'UTF-8'}"


def _with_texts(rows: pl.LazyFrame, names: Collection[str]) -> pl.LazyFrame:
    """Return rows whose columns of these names are texts, as reading the training's table made them."""
    schema = rows.collect_schema()
    texts = [name for name, kind in schema.items() if name in names and not kind.is_nested()]
    return rows.with_columns(pl.col(texts).cast(pl.String, strict=False)) if texts else rows


def _text_inputs(model: StoredModel) -> set[str]:
    """Return the input columns that held texts in training, where a few rows may hold none but numbers."""
    infos = model.scaling.norm_infos if model.scaling else ()
    return {
        info.name
        for info in infos
        if isinstance(info, BinaryInfo | CategoricalInfo) and isinstance(info.values[0], str)
    }


def _source_for(model: StoredModel, path: Path) -> TableSource:
    """Return how the training's table was read, applied to another file."""
    usual = {"kind": "table", "path": str(path), "target_column": model.card.item_target.column}
    kept = {name: value for name, value in model.source.items() if name in TableSource.model_fields}
    if path.suffix.lower() == ".csv":
        kept["text_columns"] = sorted({*kept.get("text_columns", ()), *_text_inputs(model)})
    else:
        kept = {name: kept[name] for name in ("target_column", "ignore_columns") if name in kept}
    try:
        return TableSource.model_validate({**kept, **usual})
    except ValidationError:
        return TableSource.model_validate(usual)


def scaled_rows(model: StoredModel, rows: pl.DataFrame, first: int = 0) -> pl.DataFrame:
    """Return item and the model's input columns, scaled.

    Args:
        model: A model of rows.
        rows: In the units of the training's table; other columns may be there and are not looked at.
        first: Number of the first row, from 0, for names of items.

    Raises:
        DataError: Columns are missing, hold another type, have missing values that nothing fills, or categories that
            the training lacked.
    """
    inputs = model.card.inputs.columns
    _require_columns(model, rows)
    table = rows.select(item_names(rows, first), *model.columns)
    if table.is_empty():
        return pl.DataFrame([table["item"], *(pl.Series(name, [], pl.Float64) for name in inputs)])
    scaling = model.scaling or NormalizationInfo(fitted_rows=0)
    table, columns = _with_dates(model, table), model.plain_columns
    infos = tuple(info for info in scaling.norm_infos if info.name in columns)
    filling = [info for info in scaling.filled if info.name in columns]
    table = _with_types_of_empty_columns(infos, table)
    _require_types(model, infos, table)
    table = fill_gaps(filling, table)
    levels = {info.name for info in filling if info.value is None}
    if problems := unusable_values(table, [name for name in columns if name not in levels]):
        raise DataError("The table has missing or infinite values where the model needs some. Fill them.", problems)
    advice = (
        f"The table has values that the training data of {model.name} lacked. Correct them, leave those rows out, or "
        "train with normalized.unseen_categories: code."
    )
    return apply_scaling(scaling.model_copy(update={"norm_infos": infos}), table, advice).select("item", *inputs)


def _with_dates(model: StoredModel, table: pl.DataFrame) -> pl.DataFrame:
    """Return a table with the parts of its dates in their place.

    Raises:
        DataError: Columns hold no dates, or some of their texts are none: all of them.
    """
    problems = []
    for info in model.dates:
        try:
            info.check(table[info.name])
            table = with_parts([info], table)
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("Columns do not hold dates as those that the model was trained on.", problems)
    return table.select("item", *model.plain_columns)


def rare_values(model: StoredModel, scaled: pl.DataFrame) -> dict[str, int]:
    """Return, by column, how many rows of ``scaled_rows`` have a category that is rare in the training data, or new."""
    infos = model.scaling.norm_infos if model.scaling else ()
    codes = {info.name: info.unseen_code for info in infos if isinstance(info, CategoricalInfo)}
    counts = {
        name: int((scaled[name] == code).sum())
        for name, code in codes.items()
        if code is not None and name in scaled.columns
    }
    return {name: count for name, count in counts.items() if count}


def _with_types_of_empty_columns(infos: Sequence[NormInfo], table: pl.DataFrame) -> pl.DataFrame:
    """Return a table whose columns without any value hold what the training's did: their own type says nothing."""
    first = {info.name: info.values[0] for info in infos if isinstance(info, BinaryInfo | CategoricalInfo)}
    kinds: dict[type, type[pl.DataType]] = {str: pl.String, bool: pl.Boolean, int: pl.Int64}
    empty = [name for name, count in table.null_count().row(0, named=True).items() if count == len(table)]
    return table.with_columns(
        pl.lit(None, kinds.get(type(first.get(name)), pl.Float64)).alias(name) for name in empty if name != "item"
    )


def item_names(rows: pl.DataFrame, first: int = 0) -> pl.Series:
    """Return the names of rows: their column ``item``, if it holds some, or else their numbers from ``first``."""
    kind = rows.schema.get("item", pl.Binary())
    if not (kind.is_nested() or kind in (pl.Binary, pl.Object)):
        return rows["item"].cast(pl.String, strict=False)
    return pl.Series("item", [f"{row:0{_ITEM_DIGITS}d}" for row in range(first, first + len(rows))], pl.String)


def notes_on_gaps(model: StoredModel, rows: pl.DataFrame, first: int = 0) -> list[str]:
    """Return what to know of rows that hold nothing, as blank lines and lines of totals do, and of dates that are none.

    Args:
        model: A model of rows.
        rows: With the model's columns.
        first: Number of the first row, from 0.
    """
    lacking = pl.all_horizontal(missing_in(rows[name]) for name in model.columns)
    places = rows.select(lacking.arg_true()).to_series()
    about_dates = [note for info in model.dates for note in info.notes(rows[info.name])]
    if places.is_empty():
        return about_dates
    which = f"row {first + places[0] + 1:,}" if len(places) == 1 else f"the first is row {first + places[0] + 1:,}"
    return [
        *about_dates,
        f"{pluralize(len(places), 'row has', 'rows have')} no value in any column that the model reads ({which} of the "
        "table); what is predicted for such is only what fills gaps",
    ]


def ignored_columns(model: StoredModel, rows: pl.DataFrame) -> list[str]:
    """Return the columns of a table that the model does not read."""
    return [name for name in rows.columns if name not in (*model.columns, "item")]


def _require_columns(model: StoredModel, rows: pl.DataFrame) -> None:
    missing = [name for name in model.columns if name not in rows.columns]
    if not missing:
        return
    extra = ignored_columns(model, rows)
    lines = []
    for name in missing:
        guess = nearest(name, {each.lower(): each for each in extra})
        actual = {each.lower(): each for each in extra}.get(guess or "")
        lines.append(f"{name}{f': is it {actual!r}?' if actual else ''}")
    raise DataError(
        f"{model.name} needs {len(model.columns)} columns, and {len(missing)} of them are not in the "
        f"table, which has {', '.join(rows.columns[:10])}{', …' * (len(rows.columns) > 10)}. Add or rename them.",
        lines,
    )


def _require_types(model: StoredModel, infos: Sequence[NormInfo], table: pl.DataFrame) -> None:
    """Refuse columns of another type than the training's, which could not be scaled as they were."""
    by_name = {info.name: info for info in infos}
    wrong = [
        f"column {name!r}: holds {table.schema[name]}, such as {_first_wrong(model, table[name], expected)!r}; "
        f"expected {expected}"
        for name in model.plain_columns
        if (expected := _expected(table.schema[name], by_name.get(name)))
    ]
    if wrong:
        raise DataError("Columns hold other types than those that the model was trained on. Convert them.", wrong)


def _first_wrong(model: StoredModel, column: pl.Series, expected: str) -> Any:
    """Return the value to show: of texts in place of numbers, the first that is none."""
    if column.dtype != pl.String or expected != NUMBERS:
        return column.drop_nulls()[0]
    source, texts = _source_for(model, Path("rows.csv")), column.unique(maintain_order=True).head(_MOST_LOOKED_AT)
    return next((text for text in texts if as_numbers(pl.Series("", [text]), source) is None), column[0])


def _expected(kind: pl.DataType, info: NormInfo | None) -> str:
    """Return what a column should hold; empty if it does."""
    if not isinstance(info, BinaryInfo | CategoricalInfo):
        return "" if kind.is_numeric() or kind == pl.Boolean else NUMBERS
    first = info.values[0]
    if isinstance(first, bool):
        return "" if kind == pl.Boolean else "true or false"
    if isinstance(first, str):
        return "" if isinstance(kind, (pl.String, pl.Categorical, pl.Enum)) else "texts"
    return "" if kind.is_integer() else "whole numbers"
