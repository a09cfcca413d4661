"""How a column is scaled and scaled back: fitted once, stored, applied to any rows.

Belongs here: the kinds of scaling, fitting them, their file format, their inverses. Does not belong here: which column
is scaled how.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from assay.datasets.dates import DateInfo, with_parts
from assay.datasets.filling import FilledInfo, Value, fill_gaps
from assay.errors import DataError, StorageError
from assay.spec.base import Section
from assay.spec.normalized import NormalizedSection
from assay.spec.yaml_text import read_mapping, to_yaml
from assay.storage.files import write_text
from assay.utils.text import pluralize

Floats = NDArray[np.float64]

RESTORED_TYPES: dict[str, type[pl.DataType]] = {
    kind.__name__: kind
    for kind in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Boolean, pl.String),
    )
}
"""Types that an inverse can restore; a column of any other type comes back as Float64 or String."""


CLIPPED_BEYOND = 3.0
"""Standardized values are clipped so many standard deviations beyond those of the fitted rows."""


class ScalarInfo(Section):
    """A number column x becomes (x - offset) / divisor as Float64; the fitted rows span 0 to 1, or are standardized.

    A constant column has divisor 1 and becomes 0. The inverse is exact for integers that span less than 2^50, and for
    fractions to 2^-51 of the column's span, which is the precision of Float64; clipped values do not come back.
    """

    kind: Literal["scalar"] = "scalar"
    """How the column is scaled."""
    name: str
    """Column name."""
    dtype: str
    """The column's own type."""
    offset: float
    """Smallest fitted value, or their mean, in the column's unit."""
    divisor: float = Field(gt=0)
    """Span of the fitted values, or their standard deviation, in the column's unit."""
    ends: tuple[float, float] | None = Field(default=None, exclude_if=lambda ends: ends is None)
    """What the smallest and the largest fitted value become; null: 0 and 1, and nothing is clipped."""

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the column scaled; it has no missing values.

        NumPy divides; Polars would multiply by 1 / divisor, so that the largest fitted value became 0.9999999999999999.
        """
        scaled = (column.cast(pl.Float64).to_numpy() - self.offset) / self.divisor
        return pl.Series(column.name, scaled if self.limits is None else scaled.clip(*self.limits))

    @property
    def limits(self) -> tuple[float, float] | None:
        """Where scaled values are clipped; None: nowhere."""
        return None if self.ends is None else (self.ends[0] - CLIPPED_BEYOND, self.ends[1] + CLIPPED_BEYOND)

    def inverse(self, scaled: pl.Series) -> pl.Series:
        """Return the column in its own unit and type."""
        values = scaled * self.divisor + self.offset
        kind = _restored(self.dtype)
        return (values.round() if kind.is_integer() else values).cast(kind)

    def mse_in_unit(self, scaled_mse: float) -> float:
        """Return a mean squared error of scaled values in the column's unit squared: 0.01 with divisor 4 is 0.16."""
        return scaled_mse * self.divisor**2

    def mae_in_unit(self, scaled_mae: float) -> float:
        """Return a mean absolute error of scaled values in the column's unit."""
        return scaled_mae * self.divisor


class RanksInfo(Section):
    """A number column becomes normally distributed, by the rank of each value among the fitted rows.

    Between some quantiles the way is straight; beyond the smallest and largest fitted value, it ends.
    """

    kind: Literal["ranks"] = "ranks"
    """How the column is scaled."""
    name: str
    """Column name."""
    dtype: str
    """The column's own type."""
    values: tuple[float, ...] = Field(min_length=1)
    """Quantiles of the fitted rows, from the smallest to the largest value, each once, in the column's unit."""
    normals: tuple[float, ...] = Field(min_length=1)
    """What each of them becomes."""

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the column scaled, as Float64; it has no missing values."""
        return pl.Series(column.name, np.interp(column.cast(pl.Float64).to_numpy(), self.values, self.normals))

    def inverse(self, scaled: pl.Series) -> pl.Series:
        """Return the column in its own unit and type; values beyond the fitted ones do not come back."""
        values = pl.Series(scaled.name, np.interp(scaled.to_numpy(), self.normals, self.values))
        kind = _restored(self.dtype)
        return (values.round() if kind.is_integer() else values).cast(kind)


class BinaryInfo(Section):
    """A column of two values becomes 0 and 1, in sorted order."""

    kind: Literal["binary"] = "binary"
    """How the column is scaled."""
    name: str
    """Column name."""
    dtype: str
    """The column's own type."""
    values: tuple[Value, ...] = Field(min_length=1, max_length=2)
    """The value that becomes 0, then the one that becomes 1; only one when the fitted rows have no other."""

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the codes as Int8.

        Raises:
            DataError: A value that the fitted rows lack.
        """
        return _encode(column, self.values, None).cast(pl.Int8)

    def inverse(self, codes: pl.Series) -> pl.Series:
        """Return the values of the codes."""
        return _decode(codes, self.values, self.dtype)


class CategoricalInfo(Section):
    """A column of classes becomes their numbers in sorted order."""

    kind: Literal["categorical"] = "categorical"
    """How the column is scaled."""
    name: str
    """Column name."""
    dtype: str
    """The column's own type."""
    values: tuple[Value, ...] = Field(min_length=1)
    """The classes; a class becomes its position."""
    unseen_code: int | None = None
    """Number of every class that is not among the values; null: such a class is an error."""
    missing_code: int | None = Field(default=None, exclude_if=lambda code: code is None)
    """Number of rows that have no class; null: the fitted rows all have one."""
    levels: int = Field(default=0, exclude_if=lambda levels: levels == 0)
    """So many of the numbers, from 0 on, become an input of the model each, 1 for rows of this number and else 0; 0:
    the number itself is one."""

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names of the levels: the classes, then a missing one and all others, as far as the fitted rows have them."""
        names = [str(value) for value in self.values]
        names += [] if self.missing_code is None else ["(missing)"]
        return tuple([*names, "(other)"][: self.levels])

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the codes as Int32.

        Raises:
            DataError: A class that the fitted rows lack, unless there is a code for it.
        """
        if self.missing_code is None:
            return _encode(column, self.values, self.unseen_code).cast(pl.Int32)
        codes = _encode(column.drop_nulls(), self.values, self.unseen_code)
        placed = pl.Series(column.name, [self.missing_code], pl.Int64).new_from_index(0, len(column))
        return placed.scatter(column.is_not_null().arg_true(), codes).cast(pl.Int32)

    def inverse(self, codes: pl.Series) -> pl.Series:
        """Return the classes of the codes; unseen classes become null, since their code does not tell them apart."""
        return _decode(codes, self.values, self.dtype)


NormInfo = Annotated[ScalarInfo | RanksInfo | BinaryInfo | CategoricalInfo, Field(discriminator="kind")]


Kind = Literal["scalar", "binary", "categorical"]
"""How a column is scaled: as a number; to 0 and 1; to a code per category."""

KINDS: tuple[Kind, ...] = ("scalar", "binary", "categorical")

MOST_LEVELS = 250
"""Categories of one column that are levels of their own: gradient boosting takes no more than 255."""

UNEVEN = 8.0
"""A column has outliers, or is skewed, if a value is so many times as far from the median as the quartile on its side:
of 20,000 values of a normal distribution the farthest is 6 times as far, of an exponential one 13 times."""

FEW_VALUES = 10
"""Columns of no more different values are counts or codes, in which nothing is far."""

QUANTILES = 33
"""Quantiles between which ranks are straight."""

_TWO, _SHOWN_VALUES = 2, 5


def fit_scaling(rows: pl.DataFrame, kinds: Mapping[str, Kind], spec: NormalizedSection) -> tuple[NormInfo, ...]:
    """Fit the scaling of each column.

    Args:
        rows: The rows to fit on, without missing values but in categories, where they get a code of their own.
        kinds: How each column is to be scaled.
        spec: How numbers and categories are.

    Raises:
        DataError: A binary column has more than two values, or the range of a scalar column exceeds Float64.
    """
    infos: list[NormInfo] = []
    problems: list[str] = []
    for name, kind in kinds.items():
        try:
            infos.append(_FITS[kind](rows[name], spec))
        except ValueError as error:
            problems.append(f"{kind}_feature_keys: column {name!r} {error}")
    if problems:
        raise DataError("normalized: columns can't be scaled as wanted; nothing was computed.", problems)
    return tuple(infos)


def _fit_numbers(column: pl.Series, spec: NormalizedSection) -> ScalarInfo | RanksInfo:
    way, name, dtype = spec.numbers or "range", column.name, str(column.dtype)
    values = column.cast(pl.Float64).to_numpy()
    low, high = float(values.min()), float(values.max())
    with np.errstate(over="ignore", invalid="ignore"):
        spread = high - low if way == "range" else float(values.std())
    if not np.isfinite([high - low, spread]).all():
        raise ValueError(f"spans {low:g} to {high:g}, more than Float64 holds")
    if way == "range":
        return ScalarInfo(name=name, dtype=dtype, offset=low, divisor=spread or 1.0)
    if low < high and (way == "ranks" or (way == "auto" and _is_uneven(values))):
        quantiles, normals = _ranks(values)
        return RanksInfo(name=name, dtype=dtype, values=quantiles, normals=normals)
    mean, deviation = (float(values.mean()), spread or 1.0) if low < high else (low, 1.0)
    ends = ((low - mean) / deviation, (high - mean) / deviation)
    return ScalarInfo(name=name, dtype=dtype, offset=mean, divisor=deviation, ends=ends)


def _is_uneven(values: Floats) -> bool:
    lowest, lower, middle, upper, highest = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    is_far = highest - middle > UNEVEN * (upper - middle) or middle - lowest > UNEVEN * (middle - lower)
    return bool(is_far) and len(np.unique(values)) > FEW_VALUES


def _ranks(values: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return quantiles, each once, and what each becomes: of equal ones the mean."""
    normal = NormalDist()
    end = normal.inv_cdf(1 - 0.5 / len(values))
    normals = np.linspace(-end, end, QUANTILES)
    quantiles = np.quantile(values, [normal.cdf(each) for each in normals], method="inverted_cdf")
    quantiles[0], quantiles[-1] = values.min(), values.max()
    quantiles = np.maximum.accumulate(quantiles)
    different, places = np.unique(quantiles, return_inverse=True)
    means = np.bincount(places, normals) / np.bincount(places)
    return tuple(different.tolist()), tuple(means.tolist())


def _fit_two_values(column: pl.Series, spec: NormalizedSection) -> BinaryInfo:
    values = tuple(as_plain(column).unique().sort())
    if len(values) > _TWO:
        shown = ", ".join(map(repr, values[:_SHOWN_VALUES]))
        raise ValueError(f"has {len(values)} values ({shown}, …), expected 2")
    if column.dtype == pl.Boolean and spec.codes_unseen:
        values = (False, True)  # also where the fitted rows have one of them
    return BinaryInfo(name=column.name, dtype=str(column.dtype), values=values)


def _fit_categories(column: pl.Series, spec: NormalizedSection) -> CategoricalInfo:
    counts = (
        as_plain(column).drop_nulls().alias("value").value_counts().sort("count", "value", descending=[True, False])
    )
    has_gaps, has_levels = column.null_count() > 0, spec.categories == "levels"
    common = counts
    if has_levels and spec.codes_unseen:
        common = counts.filter(pl.col("count") >= spec.rare_below).head(MOST_LEVELS)
        common = counts.head(1) if common.is_empty() else common
    values = tuple(common["value"].sort())
    first, second = len(values), len(values) + 1
    unseen = (first + (has_levels and has_gaps)) if spec.codes_unseen else None
    missing = first if has_levels or not spec.codes_unseen else second
    return CategoricalInfo(
        name=column.name,
        dtype=str(column.dtype),
        values=values,
        unseen_code=unseen,
        missing_code=missing if has_gaps else None,
        levels=(len(values) + has_gaps + (len(common) < len(counts))) if has_levels else 0,
    )


_FITS: dict[str, Callable[[pl.Series, NormalizedSection], NormInfo]] = {
    "scalar": _fit_numbers,
    "binary": _fit_two_values,
    "categorical": _fit_categories,
}


class NormalizationInfo(Section):
    """How all scaled columns of a table were scaled."""

    fit_on: Literal["train", "all"] = "train"
    """Rows that it was fitted on."""
    fitted_rows: int = Field(ge=0)
    """Number of these rows; 0 for a table without rows."""
    norm_infos: tuple[NormInfo, ...] = ()
    """One entry per scaled column, in the table's order."""
    filled: tuple[FilledInfo, ...] = Field(default=(), exclude_if=lambda infos: not infos)
    """One entry per column whose gaps are filled, before it is scaled."""
    dates: tuple[DateInfo, ...] = Field(default=(), exclude_if=lambda infos: not infos)
    """One entry per column of dates, whose parts are columns before anything is filled."""

    def apply(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table with the parts of its dates, its gaps filled and its scaled columns scaled."""
        table = fill_gaps(self.filled, with_parts(self.dates, table))
        return table.with_columns(info.apply(table[info.name]).alias(info.name) for info in self.norm_infos)

    def inverse(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table in its own units and types; filled values stay, missing classes become null."""
        return table.with_columns(info.inverse(table[info.name]).alias(info.name) for info in self.norm_infos)

    def write(self, path: Path) -> None:
        """Write the YAML file."""
        write_text(path, to_yaml(self.model_dump(mode="json")))


LIMIT_FACTOR = 8
"""The file of a scaling may be so many times as large as one that a person writes: it grows with the columns."""


def read_normalization(path: Path) -> NormalizationInfo:
    """Read what ``NormalizationInfo.write`` wrote.

    Raises:
        StorageError: The file is missing or not such a file.
    """
    try:
        return NormalizationInfo.model_validate(read_mapping(path.read_text(encoding="utf-8"), str(path), LIMIT_FACTOR))
    except (OSError, ValidationError) as error:
        raise StorageError(f"{path} can't be read as normalization: {error}") from error


def _restored(dtype: str) -> pl.DataType:
    return RESTORED_TYPES.get(dtype, pl.Float64)()


def _encode(column: pl.Series, values: tuple[Any, ...], unseen_code: int | None) -> pl.Series:
    plain = as_plain(column)
    codes = plain.replace_strict(list(values), list(range(len(values))), default=unseen_code, return_dtype=pl.Int64)
    unseen = plain.filter(codes.is_null())
    if len(unseen):
        names = ", ".join(repr(value) for value in unseen.unique().sort()[:5])
        raise DataError(
            f"column {column.name!r}: {names} in {pluralize(len(unseen), 'row')}, but the fitted rows have "
            f"only {_some(values)}"
        )
    return codes


def _some(values: tuple[Any, ...]) -> str:
    shown = ", ".join(repr(value) for value in values[:10])
    return shown if len(values) <= 10 else f"{shown}, … ({len(values)} values)"


def _decode(codes: pl.Series, values: tuple[Any, ...], dtype: str) -> pl.Series:
    kind = RESTORED_TYPES.get(dtype, pl.String)
    return codes.replace_strict(list(range(len(values))), list(values), default=None, return_dtype=kind())


def as_plain(column: pl.Series) -> pl.Series:
    """Return a column of classes with plain values: Polars' categories become texts."""
    return column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column
