"""What a person should know of a table that can be used, but may mean something else than it says.

Belongs here: sentences. Does not belong here: what is refused (``table``), how the file was read (``table_file``).
"""

from collections.abc import Iterator, Sequence

import polars as pl

from assay.datasets.dates import holds_dates, undated
from assay.datasets.filling import gap_counts
from assay.datasets.inspection import alike_names
from assay.datasets.number_texts import gap_notes
from assay.spec.generated_images import TableSource
from assay.utils.text import pluralize

_SHOWN = 5

_MOST_CLASSES = 100

_LEAST_ROWS = 10
"""In shorter tables, values that all differ say nothing."""

_DATE = r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})|\d{4}-?W\d{2}|\d{4}-\d{2}"
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?(?:Z|[+-]\d{2}:?\d{2})?"
_DATE_OR_TIME = rf"^\s*(?:(?:{_DATE})(?:[T ,]+{_TIME})?|{_TIME})\s*$"

_STAND_INS = (
    *(sign * (10**digits - 1) for digits in range(2, 8) for sign in (-1, 1)),
    *(-(2**15), -(2**31), 2**31 - 1, 2**15 - 1, 2**16 - 1),
)
"""Numbers that are written where a value is missing: -999, 99999, the ends of integers."""

_FAR = 2.0
"""A stand-in for missing values lies farther from the others than so many times the range of all others."""


def table_notes(frame: pl.DataFrame, features: Sequence[str], source: TableSource) -> list[str]:
    """Return one sentence per thing that may not be meant.

    Args:
        frame: The table, which can be used.
        features: Names of its features.
        source: Says what the columns are, and what the experiment does with them.
    """
    target, schema = frame[source.target_column], frame.schema
    used = [name for name in features if source.use.reads(name)]
    numbers = [*used, target.name] if source.use.learning == "regression" else used
    return [
        *_date_notes(frame, used, source),
        *(note for name in used if is_text(schema[name]) for note in _text_notes(frame[name], source)),
        *(note for name in _with_extreme_stand_ins(frame, numbers) for note in _stand_in_notes(frame[name], source)),
        *_constant_notes(frame, used),
        *_copies_of_target(frame, used, target),
        *_label_notes(target, source),
        *_gap_notes(frame, used, source),
    ]


_PARTS = (
    "of dates, the year, month, day of the week, day of the year and hour become numbers, as far as they differ; "
    "normalized.categorical_feature_keys keeps texts as categories"
)

_BY_TIME = (
    ". If the model shall predict later rows from earlier ones, divide by time: train, validation or test for each row "
    "in a column, the latest rows as test, and its name in source.subset_column"
)


def _date_notes(frame: pl.DataFrame, names: Sequence[str], source: TableSource) -> Iterator[str]:
    """Yield what becomes of columns of dates, which of their texts are none, and how to divide such a table."""
    if not source.use.dates_in_parts:
        return
    dates = [name for name in names if not source.use.means_texts(name) and holds_dates(frame[name])]
    for name in dates:
        wrong = undated(frame[name])
        if len(wrong):
            yield (
                f"column {name!r}: {wrong[0][:40]!r} and so on in {pluralize(len(wrong), 'row')} are no dates such as "
                "2024-01-31, and count as missing"
            )
    if dates:
        those = ", ".join(map(repr, dates[:_SHOWN])) + (", …" if len(dates) > _SHOWN else "")
        yield f"{those}: {_PARTS}" + ("" if source.subset_column else _BY_TIME)


def _text_notes(column: pl.Series, source: TableSource) -> Iterator[str]:
    """Yield what is odd about a column of texts that nobody listed as categories."""
    name = column.name
    if name in source.text_columns or source.use.means_texts(name):
        return
    if source.use.dates_in_parts and holds_dates(column):
        return
    texts = column.cast(pl.String)
    yield from gap_notes(texts)
    present = texts.drop_nulls()
    different = present.unique()
    if len(present) and present.str.contains(_DATE_OR_TIME).all():
        yield (
            f"column {name!r}: holds dates or times as texts, such as {present[0][:40]!r}, which become categories; "
            "write dates as 2024-01-31, whose parts are used, turn them into a number such as days, or list the column "
            "in source.ignore_columns"
        )
    elif len(present) >= _LEAST_ROWS and len(different) == len(present):
        yield (
            f"column {name!r}: holds another text in each of {len(present)} rows, as IDs and sentences do, which says "
            "nothing about further rows; list it in source.ignore_columns"
        )
    elif len(different) <= _MOST_CLASSES:
        for note in alike_names(different.sort()):
            yield f"column {name!r}: {note.replace('two classes', 'two categories')}"


def is_text(kind: pl.DataType) -> bool:
    """Return whether a column of this type holds texts."""
    return isinstance(kind, (pl.String, pl.Categorical, pl.Enum))


def _with_extreme_stand_ins(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the columns of numbers whose smallest or largest value may stand for missing ones; reads all at once."""
    schema = frame.schema
    numbers = frame.select(name for name in names if schema[name].is_numeric())
    if not numbers.width or len(frame) < _LEAST_ROWS:
        return []
    ends = zip(numbers.columns, numbers.min().row(0), numbers.max().row(0), strict=True)
    return [name for name, low, high in ends if low in _STAND_INS or high in _STAND_INS]


def _stand_in_notes(column: pl.Series, source: TableSource) -> Iterator[str]:
    """Yield that a number may stand for missing values: it is frequent, and far from all others."""
    if source.use.means_texts(column.name):
        return
    values = column.cast(pl.Float64).drop_nulls().drop_nans()
    ends = values.to_frame().select(low=pl.first().min(), high=pl.first().max()).row(0)
    for value in ends if len(values) >= _LEAST_ROWS else ():
        others = values.filter(values != value)
        if value not in _STAND_INS or len(values) - len(others) < 2 or others.n_unique() < 3:
            continue
        low, high = others.to_frame().select(low=pl.first().min(), high=pl.first().max()).row(0)
        if min(abs(value - low), abs(value - high)) > _FAR * (high - low):
            remedy = "list it in source.null_values as the file writes it, or fill it" if source.is_csv else "fill it"
            yield (
                f"column {column.name!r}: {value:g} in {len(values) - len(others)} of {len(column)} rows is far from "
                f"all other values, {low:g} to {high:g}; if it means missing, {remedy}"
            )


def _constant_notes(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Return the warning that columns hold the same value in every row."""
    if len(frame) < _LEAST_ROWS or not names:
        return []
    counts = frame.select(pl.col(name).n_unique() for name in names).row(0)
    constant = [repr(name) for name, count in zip(names, counts, strict=True) if count == 1]
    if not constant:
        return []
    shown = ", ".join(constant[:_SHOWN]) + (", …" if len(constant) > _SHOWN else "")
    return [
        f"{pluralize(len(constant), 'column holds', 'columns hold')} the same value in every row, which says nothing: "
        f"{shown}; list them in source.ignore_columns"
    ]


def _copies_of_target(frame: pl.DataFrame, names: Sequence[str], target: pl.Series) -> list[str]:
    """Return that a feature is the target: then there is nothing to learn, and each metric looks perfect."""
    schema, first = frame.schema, frame.row(0, named=True)
    alike = [
        name
        for name in names
        if first[name] == target[0]
        and (schema[name] == target.dtype or (schema[name].is_numeric() and target.dtype.is_numeric()))
    ]
    if not alike or target.n_unique() < 2:
        return []
    same = frame.select((pl.col(name) == target).fill_null(False).all() for name in alike).row(0)
    return [
        f"column {name!r}: equals the target in every row, so that there is nothing to learn; list it in "
        "source.ignore_columns"
        for name, is_same in zip(alike, same, strict=True)
        if is_same
    ]


def _label_notes(target: pl.Series, source: TableSource) -> list[str]:
    """Return what to know of labels that are written in an unexpected way."""
    where = f"source.target_column {target.name!r}"
    if source.use.learning not in ("classification", "multi_label"):
        return []
    if target.dtype.is_float() and bool((target == target.round()).all()):
        return [
            f"{where}: holds whole numbers as floats, so that classes are called "
            f"{target[0]!s} and splits can't stratify; list it in source.text_columns, or write whole numbers"
        ]
    notes = _many_classes(where, target) if source.use.learning == "classification" else []
    if target.dtype != pl.String:
        return notes
    classes: list[str] = [] if source.use.learning == "multi_label" else target.unique().sort().to_list()
    notes += alike_names(classes) if len(classes) <= _MOST_CLASSES else []
    return notes if target.name in source.text_columns else notes + gap_notes(target)


def _many_classes(where: str, target: pl.Series) -> list[str]:
    """Return that labels can't be classes: most of them occur once."""
    classes = target.n_unique()
    if len(target) < _LEAST_ROWS:
        return []
    if 2 * classes <= len(target):
        return _single_rows(where, target)
    remedy = "task: regression predicts numbers" if target.dtype.is_numeric() else "is it the column to predict?"
    return [f"{where}: holds {classes} classes in {len(target)} rows, most of them once; {remedy}"]


def _single_rows(where: str, target: pl.Series) -> list[str]:
    """Return that some classes have one row, which can't both be learned from and tested."""
    counts = target.alias("class").value_counts().filter(pl.col("count") == 1)
    single = counts["class"].cast(pl.String).sort().to_list()
    if not single:
        return []
    shown = ", ".join(repr(name[:40]) for name in single[:_SHOWN]) + (", …" if len(single) > _SHOWN else "")
    return [
        f"{where}: {pluralize(len(single), 'class has', 'classes have')} one row only ({shown}), which is learned from "
        "or tested, not both; add rows, put such classes into another one "
        "(trained_model.data_description.class_mapping), or remove them"
    ]


def _gap_notes(frame: pl.DataFrame, features: Sequence[str], source: TableSource) -> list[str]:
    """Return the warning that features have missing values, and what becomes of them."""
    found = [f"{name!r} in {count}" for name, count in gap_counts(frame, features).items()]
    if not found:
        return []
    shown = ", ".join(found[:_SHOWN]) + (
        f" and {pluralize(len(found) - _SHOWN, 'more column')}" if len(found) > _SHOWN else ""
    )
    return [f"values are missing: {shown} of {pluralize(len(frame), 'row')}; {source.use.missing.sentence}"]
