"""Dates of a table as numbers: the parts of a column of dates, chosen once, stored, applied to any rows.

A column holds dates by its type, or because nearly all of its texts are ISO dates: 2024-01-31, 2024-01-31T08:15.
Belongs here: recognizing dates, their parts. Does not belong here: scaling the parts (``scaling``), filling their gaps
(``filling``).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import polars as pl
from pydantic import Field

from assay.errors import DataError, shorten
from assay.spec.base import Section
from assay.utils.text import pluralize

Part = Literal["year", "month", "weekday", "day_of_year", "hour"]

PARTS: tuple[Part, ...] = get_args(Part)

LEAST_SHARE = 0.95
"""Share of the texts of a column, those that are missing aside, from which on it is one of dates."""

_DAY = r"(\d{4}-\d{2}-\d{2})"
_HOUR = r"(?:[T ]([01]\d|2[0-3]):[0-5]\d(?::\d{2}(?:[.,]\d+)?)?)?"
_ISO = rf"^\s*{_DAY}{_HOUR}\s*(Z|[+-]\d{{2}}:?\d{{2}})?\s*$"

_OFFSET = r"^[+-](?:0[1-9]|[1-9]\d|00:?0*[1-9])"

_SAMPLED = 1000

Zone = Literal["utc", "offset"]
"""``utc``: by the type of the column, whose times are read in UTC; ``offset``: by texts such as 2024-01-31T08:15+02:00,
whose times are read as written."""


class DateInfo(Section):
    """A column of dates becomes one column of whole numbers per part that differs between the fitted rows."""

    name: str
    """Column name."""
    parts: dict[Part, str]
    """Name of the column of each part: the year, the month 1 to 12, the day of the week 1 (Monday) to 7, the day of the
    year 1 to 366, the hour 0 to 23."""
    lenient: bool = Field(default=False, exclude_if=lambda lenient: not lenient)
    """Whether some texts of the fitted rows are no dates, so that such texts are missing values."""
    zone: Zone | None = Field(default=None, exclude_if=lambda zone: zone is None)
    """How the fitted rows told of time zones; null: not at all."""

    def apply(self, column: pl.Series) -> list[pl.Series]:
        """Return the columns of the parts, as Int32; null where there is no date.

        Raises:
            DataError: The column holds neither dates nor texts.
        """
        parts = parts_of(column)
        return [parts[part].alias(name) for part, name in self.parts.items()]

    def check(self, column: pl.Series) -> None:
        """Refuse texts that are no dates, unless the fitted rows had such texts as well.

        Where the fitted rows had some, a column of hardly anything else is of dates in another form, not of gaps.

        Raises:
            DataError: Names some of them; or the column holds days without times, of which the hour was fitted, or
                times that would be read in another time zone than those of the fitted rows.
        """
        if len(undated(column)) and (not self.lenient or are_of_other_form(column)):
            raise DataError(
                f"column {self.name!r}: {_undated_text(column)}; write them as 2024-01-31 or 2024-01-31T08:15, or "
                "leave them empty where they are unknown."
            )
        if column.dtype == pl.Date and "hour" in self.parts and column.null_count() < len(column):
            raise DataError(
                f"column {self.name!r}: holds days without times, but the fitted rows differ in their hour; give "
                "times, such as 2024-01-31T08:15."
            )
        if self.zone is not None and zone_of(column) not in (None, self.zone):
            raise DataError(f"column {self.name!r}: {_OTHER_ZONE[self.zone]}.")

    def notes(self, column: pl.Series) -> list[str]:
        """Return what a person should know of how a column was read that passes ``check``."""
        notes = [f"{_undated_text(column)}; such values count as missing"] if len(undated(column)) else []
        if "hour" in self.parts and _has_no_time(column):
            notes.append("no value has a time of day, which the fitted rows had; all count as midnight")
        return [f"column {self.name!r}: {note}" for note in notes]


def parts_of(column: pl.Series) -> pl.DataFrame:
    """Return a column ``PARTS`` each, Int32, of a column of dates, times or ISO texts; null where there is no date.

    The hour is as the text says it, or in UTC where the column's type has a time zone, which is how tables are stored.

    Raises:
        DataError: The column holds something else.
    """
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        times = column.dt.convert_time_zone("UTC") if kind.time_zone else column
        day, hour = times.dt.date(), times.dt.hour()
    elif isinstance(kind, pl.Date):
        day, hour = column, column.dt.day() * 0
    elif isinstance(kind, (pl.String, pl.Categorical, pl.Enum)):
        texts = column.cast(pl.String)
        day = texts.str.extract(_ISO, 1).str.to_date("%Y-%m-%d", strict=False)
        hour = texts.str.extract(_ISO, 2).cast(pl.Int32).fill_null(0)
    elif column.null_count() == len(column):
        day = hour = column.cast(pl.Date)
    else:
        raise DataError(f"column {column.name!r}: holds {kind}; expected dates, or texts such as 2024-01-31.")
    found = pl.DataFrame({"day": day, "hour": hour.cast(pl.Int32)})
    found = found.with_columns(day=pl.when(pl.col("day").dt.year().is_not_null()).then("day"))  # within the calendar
    return found.select(
        year=pl.col("day").dt.year(),
        month=pl.col("day").dt.month(),
        weekday=pl.col("day").dt.weekday(),
        day_of_year=pl.col("day").dt.ordinal_day(),
        hour=pl.when(pl.col("day").is_not_null()).then("hour"),
    ).cast(pl.Int32)


def undated(column: pl.Series) -> pl.Series:
    """Return the texts of a column that are no ISO dates; none of a column of another type."""
    if not isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return column.clear()
    present = column.cast(pl.String).drop_nulls()
    return present.filter(present.str.extract(_ISO, 1).str.to_date("%Y-%m-%d", strict=False).is_null())


_OTHER_ZONE: dict[Zone, str] = {
    "utc": (
        "texts such as 2024-01-31T08:15+02:00 are read as written, but the times of the fitted rows in UTC; write them "
        "in UTC, such as 2024-01-31T06:15Z, or give a column of times with a time zone"
    ),
    "offset": (
        "times of a column with a time zone are read in UTC, but the fitted rows as written, such as "
        "2024-01-31T08:15+02:00; give such texts"
    ),
}


def zone_of(column: pl.Series) -> Zone | None:
    """Return how a column tells of time zones; None if it does not, or all of its texts are in UTC."""
    if isinstance(column.dtype, pl.Datetime):
        return "utc" if column.dtype.time_zone else None
    if not isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return None
    return "offset" if column.cast(pl.String).str.extract(_ISO, 3).str.contains(_OFFSET).any() else None


MOST_UNDATED = 10
"""So many texts that are no dates, and more than there are dates, are dates in another form."""


def are_of_other_form(column: pl.Series) -> bool:
    """Return whether so many texts of a column are no ISO dates that they are hardly what is written in gaps."""
    count = len(undated(column))
    return count >= MOST_UNDATED and count > (len(column) - column.null_count()) // 2


def _undated_text(column: pl.Series) -> str:
    wrong = undated(column)
    shown = ", ".join(map(shorten, wrong.unique(maintain_order=True)[:3]))
    return f"{pluralize(len(wrong), 'value is no date', 'values are no dates')}, such as {shown}"


def _has_no_time(column: pl.Series) -> bool:
    if not isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return False
    dated = column.cast(pl.String).str.extract_groups(_ISO).struct.unnest().filter(pl.col("1").is_not_null())
    return len(dated) > 0 and dated["2"].null_count() == len(dated)


def holds_dates(column: pl.Series) -> bool:
    """Return whether a column holds dates, by its type or by nearly all of its texts."""
    if isinstance(column.dtype, (pl.Date, pl.Datetime)):
        return column.null_count() < len(column)
    if not isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        return False
    present = column.drop_nulls()
    few = present.head(_SAMPLED)
    if not len(few) or len(undated(few)) > len(few) // 2:
        return False
    return len(undated(present)) <= (1 - LEAST_SHARE) * len(present)


def fit_dates(rows: pl.DataFrame, features: Iterable[str]) -> tuple[DateInfo, ...]:
    """Return which parts of each column of dates become columns: those that differ between the rows.

    Args:
        rows: The rows to fit on.
        features: Columns that may hold dates.
    """
    taken, infos = set(rows.columns), []
    for name in features:
        if holds_dates(rows[name]):
            varying = [part.name for part in parts_of(rows[name]) if part.drop_nulls().n_unique() > 1]
            parts = {part: _free_name(f"{name}_{part}", taken) for part in PARTS if part in varying}
            is_lenient = len(undated(rows[name])) > 0
            infos.append(DateInfo(name=name, parts=parts, lenient=is_lenient, zone=zone_of(rows[name])))
    return tuple(infos)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def with_parts(infos: Iterable[DateInfo], table: pl.DataFrame) -> pl.DataFrame:
    """Return a table with the parts of its dates as further columns at its end; the dates stay."""
    return table.with_columns(column for info in infos for column in info.apply(table[info.name]))


def date_columns(infos: Iterable[DateInfo]) -> Mapping[str, str]:
    """Return, by the name of each column that holds a part, the column of the dates."""
    return {part: info.name for info in infos for part in info.parts.values()}


def in_parts(names: Sequence[str], infos: Iterable[DateInfo]) -> tuple[str, ...]:
    """Return names of columns in which those of dates are replaced by those of their parts."""
    parts = {info.name: tuple(info.parts.values()) for info in infos}
    return tuple(dict.fromkeys(each for name in names for each in parts.get(name, (name,))))
