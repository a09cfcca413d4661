"""Test kind ``no_missing_values``: no null and no NaN in any table.

Belongs here: counting missing values in Parquet files. Does not belong here: filling them.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars.datatypes import DataTypeClass

from assay.exptests.files import ExperimentFiles, TestResult, shortened, verdict
from assay.spec.exptest_kinds import NoMissingValuesTest

EXPECTED = "no null and no NaN"


def run(test: NoMissingValuesTest, files: ExperimentFiles) -> TestResult:
    """Look at every table, and at every Parquet file below the experiment's folder, at any depth."""
    tables = dict(_tables(files))
    if not tables:
        description = "There is no table and no Parquet file to look at. Materialize normalized or predictions first."
        return verdict(test, False, description, measured="no table", expected=EXPECTED)
    findings = [finding for path, name in sorted(tables.items()) for finding in _findings(test, name, path)]
    measured = f"{len(tables)} tables, {len(findings)} findings"
    if findings:
        return verdict(test, False, f"{shortened(findings)}.", measured=measured, expected=EXPECTED)
    description = f"{len(tables)} tables without missing values: {shortened(sorted(set(tables.values())))}."
    return verdict(test, True, description, measured=measured, expected=EXPECTED)


def _tables(files: ExperimentFiles) -> Iterator[tuple[Path, str]]:
    """Yield each file once with its table's name; links to one file are one file."""
    seen: set[tuple[int, int]] = set()
    named = [(path, name) for name, path in sorted(files.tables.items())]
    if files.experiment_folder is not None:
        named += [(path, path.stem) for path in sorted(files.experiment_folder.rglob("*.parquet"))]
    for path, name in named:
        identity = (path.stat().st_dev, path.stat().st_ino) if path.exists() else (-1, hash(path))
        if identity not in seen:
            seen.add(identity)
            yield path, name


def _findings(test: NoMissingValuesTest, table: str, path: Path) -> list[str]:
    """Return one line per column with missing values, or one that says why the file can't be read."""
    try:
        schema = pl.read_parquet_schema(path)
        columns = [name for name in schema if not test.ignores(table, name)]
        counts = pl.scan_parquet(path).select(_missing(name, schema[name]) for name in columns).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        return [f"{path}: can't be read as Parquet ({str(error).splitlines()[0]})"]
    return [
        f"{table} ({path.name}): column {name!r} has {count} missing values"
        for name, count in zip(columns, counts.row(0) if columns else (), strict=True)
        if count
    ]


def _missing(name: str, kind: pl.DataType) -> pl.Expr:
    return _missing_in(pl.col(name), kind).alias(name)


def _missing_in(values: pl.Expr, kind: pl.DataType | DataTypeClass) -> pl.Expr:
    """Return how many values are missing, those within lists and structs among them; of a missing list, only itself."""
    missing = values.is_null().sum()
    if kind.is_float():
        missing += values.is_nan().sum()
    elif isinstance(kind, pl.Array):
        missing += _missing_in(values.arr.to_list(), pl.List(kind.inner)) - values.is_null().sum()
    elif isinstance(kind, pl.List):
        missing += _missing_in(values.filter(values.list.len() > 0).explode(), kind.inner)
    elif isinstance(kind, pl.Struct):
        there = values.filter(values.is_not_null())
        for field in kind.fields:
            missing += _missing_in(there.struct.field(field.name), field.dtype)
    return missing
