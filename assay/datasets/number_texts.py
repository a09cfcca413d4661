"""Text columns that hold numbers: read where that is certain, refused with the way out where it is not.

A question mark in one of a thousand cells makes a column of numbers one of texts, which would be coded as categories.

Belongs here: what a text must look like to be a number, what to tell a person. Does not belong here: reading files,
which columns are used.
"""

import re
from collections.abc import Sequence

import polars as pl

from assay.spec.generated_images import TableSource
from assay.utils.text import pluralize

_GAPS = (
    *("?", "??", "???", "na", "n/a", "#n/a", "#na", "n.a.", "null", "none", "nil", "nan", "<na>", "nat", "missing"),
    *(
        "-",
        "--",
        "---",
        "\u2013",
        "\u2014",
        ".",
        "..",
        "...",
        "*",
        "/",
        "x",
        "unknown",
        "undefined",
        "\\n",
        "k.a.",
        "k. a.",
    ),
    *("#n/v", "#nv", "#value!", "#wert!", "#ref!", "#bezug!", "#div/0!", "#name?", "#num!", "#zahl!", "#null!"),
)
"""Lower-case texts that mean a missing value in one program or another."""

_MINUS = "[-\u2212\u2012\u2013\ufe63\uff0d]"
"""The minus signs that programs write."""

_SPACE = "[ \u00a0\u2009\u202f]"

_THOUSANDS = {"'": "['\u2019]", " ": _SPACE, ".": "[.]", ",": ",", "_": "_"}
"""Pattern of each separator of thousands."""

_PLAIN = r"^-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_WHOLE = r"^-?[0-9]+$"
"""Digits of other scripts, which \\d includes, are read by no conversion."""
_SIGN = rf"(?:\+|{_MINUS})?"
_OF_COMMAS = r"(?:\d{1,3}(?:,\d{3})+|\d{1,2}(?:,\d{2})+,\d{3})"
"""Whole numbers of 1,234,567 and, as in India, 12,34,567."""
_GROUPED = "|".join(rf"\d{{1,3}}(?:{mark}\d{{3}})+" for mark in _THOUSANDS.values()) + rf"|{_OF_COMMAS}"
_NUMBER = rf"(?:(?:{_GROUPED}|\d+)(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?"
_MONEY = r"(?:[$€£¥₹₽¢]|USD|EUR|GBP|CHF|JPY|Rs\.?)?"
_LOOSE = (
    rf"(?i)^[(<>~≈≤≥]*\s*{_MONEY}\s*{_SIGN}\s*{_MONEY}\s*{_NUMBER}\s*{_MONEY}\s*[%‰*)-]?$"
    rf"|^{_SIGN}0x[0-9a-f]+$|^{_SIGN}inf(?:inity)?$"
)
_WITH_UNIT = rf"^{_SIGN}{_NUMBER}\s*([A-Za-z\u00b5\u03bc°Ω][\w²³/°]{{0,4}})$"

_LEAST_DIFFERENT = 5
"""With fewer different values, 2WD and 4WD are categories rather than numbers with a unit."""

_LONGEST_WHOLE = 18
"""Digits of whole numbers that 64 bits hold in any case."""

_SHOWN = 3


def as_numbers(column: pl.Series, source: TableSource) -> pl.Series | None:
    """Return a text column as Int64 or Float64 if every value is a number, or missing; else None.

    Spaces around a number, a plus and the other minus signs are no obstacle; nor are the source's ``decimal`` and
    ``thousands``.
    """
    text = _cleaned(column, source)
    present = text.drop_nulls()
    if present.is_empty() or not present.str.contains(_PLAIN).all():
        return None
    if not present.str.contains(_WHOLE).all():
        return text.cast(pl.Float64)
    is_long = (present.str.len_chars() > _LONGEST_WHOLE).any()
    return None if is_long else text.cast(pl.Int64)


def _cleaned(column: pl.Series, source: TableSource) -> pl.Series:
    """Return texts in which numbers look as Python writes them, and missing values are null."""
    text = pl.col(column.name).str.strip_chars()
    text = pl.when(~text.is_in(list(source.null_values))).then(text)
    text = text.str.replace(rf"^{_MINUS}\s*", "-").str.replace(r"^\+([\d.,])", "${1}")
    decimal = re.escape(source.decimal)
    if source.thousands is not None:
        mark = _THOUSANDS[source.thousands]
        whole = _OF_COMMAS if mark == "," else rf"\d{{1,3}}(?:{mark}\d{{3}})+"
        is_grouped = text.str.contains(rf"^-?{whole}(?:{decimal}\d*)?$")
        text = pl.when(is_grouped).then(text.str.replace_all(mark, "")).otherwise(text)
    if source.decimal == ",":  # then what has a dot is no number
        has_comma = text.str.contains(r"^-?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?$")
        text = pl.when(has_comma).then(text.str.replace(",", ".")).otherwise(pl.lit("?") + text)
    return column.to_frame().select(text.alias(column.name)).to_series()


def finding(column: pl.Series, source: TableSource) -> str | None:
    """Return what is wrong with a text column most of whose values are numbers, and what to do; None if they aren't.

    Missing values, and texts that stand for them, don't count.
    """
    values = _values(column, source)
    present = values.filter(~pl.col("is_gap"))
    numbers = present.filter(pl.col("is_number"))
    if numbers.is_empty() or 2 * numbers["count"].sum() <= present["count"].sum():
        return None
    odd = values.filter(~pl.col("is_plain")).sort("count", "value", descending=[True, False])
    total, plain = values["count"].sum(), values.filter("is_plain")["count"].sum()
    if odd.is_empty() and not source.is_csv:
        return f"holds numbers as texts, such as {_shown(values)}; store plain numbers"
    if odd.is_empty():
        return f"holds whole numbers of more than {_LONGEST_WHOLE} digits, such as {numbers['value'][0][:40]}"
    rest = "; ".join(_remedies(values, source))
    if plain:
        return f"{plain} of {pluralize(int(total), 'value is', 'values are')} numbers, but not {_shown(odd)}; {rest}"
    return f"holds numbers as texts, such as {_shown(odd)}; {rest}"


def _values(column: pl.Series, source: TableSource) -> pl.DataFrame:
    """Return each different value with its count, and whether it is a gap, a number, a number as it should be."""
    frame = pl.DataFrame({"value": column.cast(pl.String), "clean": _cleaned(column.cast(pl.String), source)})
    counted = (
        frame.drop_nulls("clean").group_by("value", maintain_order=True).agg(pl.first("clean"), pl.len().alias("count"))
    )
    stripped = pl.col("value").str.strip_chars()
    values = counted.with_columns(
        is_gap=stripped.str.to_lowercase().is_in(["", *_GAPS]),
        is_plain=pl.col("clean").str.contains(_PLAIN),
        is_loose=stripped.str.contains(_LOOSE),
        unit=stripped.str.extract(_WITH_UNIT, 1),
    )
    units = values.filter(~pl.col("is_loose"))["unit"].drop_nulls().value_counts(sort=True)
    common = units["unit"][0] if len(units) and units["count"][0] >= _LEAST_DIFFERENT else None
    has_unit = (pl.col("unit") == common).fill_null(False) if common else pl.lit(False)
    return values.with_columns(is_number=pl.col("is_plain") | pl.col("is_loose") | has_unit)


def _shown(odd: pl.DataFrame) -> str:
    """Return the most frequent values with how often each occurs."""
    first = odd.head(_SHOWN)
    shown = [f"{value[:40]!r} ({count}x)" for value, count in first.select("value", "count").iter_rows()]
    return ", ".join(shown) + (f" and {pluralize(len(odd) - len(first), 'other')}" if len(odd) > len(first) else "")


def _remedies(values: pl.DataFrame, source: TableSource) -> list[str]:
    """Return what may be done about the values that are no plain numbers."""
    odd = values.filter(~pl.col("is_plain"))
    numbers, gaps = odd.filter("is_number")["value"], odd.filter("is_gap")["value"].to_list()
    others = odd.filter(~pl.col("is_number") & ~pl.col("is_gap"))
    if not source.is_csv:
        return ["store plain numbers, and nulls where values are missing"]
    lines = []
    if gaps:
        lines.append(f"if {_either(gaps)} means a missing value: source.null_values: {[*source.null_values, *gaps]}")
    if len(numbers):
        lines += _number_remedies(numbers.str.strip_chars(), values["value"].str.strip_chars(), source)
    if len(others):
        lines.append(
            f"correct {_either(others['value'].to_list())}, or list what means a missing value in source.null_values"
        )
    return lines


def _number_remedies(odd: pl.Series, everything: pl.Series, source: TableSource) -> list[str]:
    """Return the keys that say how numbers are written, for those that are not written in the plain way."""

    def has(pattern: str, among: pl.Series = odd) -> bool:
        return bool(among.str.contains(pattern).any())

    lines = []
    groups_of_commas, decimals = (
        rf"^\D*{_OF_COMMAS}(?:[.]\d*)?\D*$",
        r"^[^\d,]*(?:\d+|\d{1,3}(?:[.'’\s]\d{3})+)?,\d*(?:[eE][+-]?\d+)?\D*$",
    )
    certain = bool((odd.str.contains(decimals) & ~odd.str.contains(groups_of_commas)).any())
    if source.decimal == "." and certain:
        lines.append("a decimal comma is source.decimal: ','")
    elif source.decimal == "." and source.thousands is None and has(groups_of_commas):
        if has(r",\d{2,3},|,\d{3}[.]"):
            lines.append("commas between thousands are source.thousands: ','")
        else:
            lines.append("if 1,234 means 1234: source.thousands: ','; if it means 1.234: source.decimal: ','")
    if source.thousands is None:
        if not certain and source.decimal == "." and has(r"[.]\d{3}[.]\d{3}"):
            lines.append("dots between thousands are source.decimal: ',' with source.thousands: '.'")
        if (certain or source.decimal == ",") and has(r"\d[.]\d{3}(?:\D|$)", everything):
            lines.append("dots between thousands are source.thousands: '.'")
        lines += [
            f"{name} between thousands are source.thousands: {mark!r}"
            for mark, name in ((" ", "spaces"), ("'", "apostrophes"), ("_", "underscores"))
            if has(rf"\d{_THOUSANDS[mark]}\d{{3}}(?:\D|$)")
        ]
    elif source.decimal == "," and has(r"[.]"):
        lines.append("a dot does not go with source.decimal: ','")
    if has(r"[^\d\s.,'’_+\-\u2212]|(?i)inf"):
        lines.append("write the numbers without signs and units into the file")
    return lines or ["write plain numbers such as 1234.5 into the file"]


def _either(values: Sequence[str]) -> str:
    return " or ".join(map(repr, values[:_SHOWN])) + (", …" if len(values) > _SHOWN else "")


def is_gap(column: pl.Series) -> pl.Series:
    """Return which texts hardly mean anything but that a value is missing."""
    return column.str.strip_chars().str.to_lowercase().is_in(_DOUBTFUL).fill_null(False)


def gap_notes(column: pl.Series) -> list[str]:
    """Return the warning that a text in a column of categories may mean a missing value; empty if none does."""
    counts = column.filter(is_gap(column)).value_counts(name="rows")
    found = counts.sort(column.name).rows()
    if not found:
        return []
    shown = ", ".join(f"{value!r} in {pluralize(rows, 'row')}" for value, rows in found[:_SHOWN])
    return [
        f"column {column.name!r}: {shown} is a category like any other; if it means missing, list it in "
        "source.null_values"
    ]


_DOUBTFUL = tuple(text for text in _GAPS if not text.isalpha())
"""Texts that hardly anyone writes for a category; "none" and "unknown" may be meant."""
