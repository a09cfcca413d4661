"""The rows that a model learns from or predicts, one subset at a time.

Belongs here: reading a stage's table by subset, and refusing subsets that share items. Does not belong here: tensors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.errors import DataError, unknown
from assay.tables import read_parquet


@dataclass(frozen=True)
class DataSource:
    """A result of the stage that feeds the model.

    Attributes:
        kind: ``crops`` or ``normalized``: its table is ``<kind>.parquet`` in the folder.
        folder: Folder of the result; pictures are named relative to it.
        fingerprint: Names its content; a model remembers it.
        norm_info: File with the scaling of each column; None when no column that matters was scaled.
    """

    kind: str
    folder: Path
    fingerprint: str
    norm_info: Path | None = None

    @property
    def table(self) -> Path:
        """Its Parquet file."""
        return self.folder / f"{self.kind}.parquet"


def read_subsets(source: DataSource, names: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Return the rows of each subset, in the order of ``names``.

    Raises:
        DataError: A subset has no rows, an item occurs twice, or the table lacks ``subset`` or ``item``.
    """
    rows = read_parquet(source.table)
    for column in ("item", "subset"):
        if column not in rows.columns:
            raise DataError(f"{source.table}: {unknown('Column', column, rows.columns)}")
    existing = rows["subset"].unique().sort().to_list()
    for name in names:
        if name not in existing:
            raise DataError(f"{source.kind} has no rows in the subset {name!r}. {unknown('Subset', name, existing)}")
    check_disjoint(rows)
    return {name: rows.filter(pl.col("subset") == name) for name in names}


def check_disjoint(rows: pl.DataFrame) -> None:
    """Refuse an item that is in two subsets, or twice in one: it would be judged by what it taught.

    Raises:
        DataError: Names each such item and its subsets.
    """
    twice = rows.group_by("item").agg("subset").filter(pl.col("subset").list.len() > 1).sort("item")
    if len(twice):
        problems = [f"{item}: in {', '.join(sorted(names))}" for item, names in twice.iter_rows()]
        raise DataError(f"{len(twice)} item(s) occur more than once. Each belongs into one subset.", problems)


def row_counts(subsets: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Return the number of rows of each subset."""
    return {name: len(rows) for name, rows in subsets.items()}


def require_columns(rows: pl.DataFrame, names: Iterable[str], key: str) -> None:
    """Refuse columns that a table does not have.

    Raises:
        DataError: ``key`` names the key of the spec that asked for them.
    """
    for name in names:
        if name not in rows.columns:
            raise DataError(f"{key}: {unknown('Column', name, rows.columns)}")
