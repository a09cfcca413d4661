"""How a column is scaled and scaled back: fitted once, stored, applied to any rows.

Belongs here: the three kinds of scaling, their file format, their inverses. Does not belong here: which column is
scaled how.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, ValidationError

from assay.datasets.filling import FilledInfo, Value, fill_gaps
from assay.errors import DataError, StorageError
from assay.spec.base import Section
from assay.spec.yaml_text import read_mapping, to_yaml
from assay.storage.files import write_text

RESTORED_TYPES: dict[str, type[pl.DataType]] = {
    kind.__name__: kind
    for kind in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.Boolean, pl.String),
    )
}
"""Types that an inverse can restore; a column of any other type comes back as Float64 or String."""


class ScalarInfo(Section):
    """A number column x becomes (x - offset) / divisor as Float64; the fitted rows span 0 to 1.

    A constant column has divisor 1 and becomes 0. The inverse is exact for integers that span less than 2^50, and for
    fractions to 2^-51 of the column's span, which is the precision of Float64.
    """

    kind: Literal["scalar"] = "scalar"
    """How the column is scaled."""
    name: str
    """Column name."""
    dtype: str
    """The column's own type."""
    offset: float
    """Smallest fitted value, in the column's unit."""
    divisor: float = Field(gt=0)
    """Span of the fitted values, in the column's unit."""

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the column scaled; it has no missing values.

        NumPy divides; Polars would multiply by 1 / divisor, so that the largest fitted value became 0.9999999999999999.
        """
        return pl.Series(column.name, (column.cast(pl.Float64).to_numpy() - self.offset) / self.divisor)

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


NormInfo = Annotated[ScalarInfo | BinaryInfo | CategoricalInfo, Field(discriminator="kind")]


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

    def apply(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table with its gaps filled and its scaled columns scaled, the others as they are."""
        table = fill_gaps(self.filled, table)
        return table.with_columns(info.apply(table[info.name]).alias(info.name) for info in self.norm_infos)

    def inverse(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the table in its own units and types; filled values stay, missing classes become null."""
        return table.with_columns(info.inverse(table[info.name]).alias(info.name) for info in self.norm_infos)

    def write(self, path: Path) -> None:
        """Write the YAML file."""
        write_text(path, to_yaml(self.model_dump(mode="json")))


def read_normalization(path: Path) -> NormalizationInfo:
    """Read what ``NormalizationInfo.write`` wrote.

    Raises:
        StorageError: The file is missing or not such a file.
    """
    try:
        return NormalizationInfo.model_validate(read_mapping(path.read_text(encoding="utf-8"), str(path)))
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
            f"column {column.name!r}: {names} in {len(unseen)} rows, but the fitted rows have only {_some(values)}"
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
