"""The rows that a model is trained on or applied to.

Belongs here: reading the table of a stage, split by subset. Does not belong here: masks and boxes (``annotations``),
tensors.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from assay.datasets.scaling import read_normalization
from assay.datasets.schema import ITEMS_FILE, read_table_info
from assay.errors import DataError, unknown
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.utils.text import pluralize


@dataclass(frozen=True)
class DataSource:
    """A result of the stage that feeds the model.

    Attributes:
        kind: ``splits``, ``crops`` or ``normalized``.
        folder: Folder of the result; image files are named relative to it.
        fingerprint: Identifies the content; stored with the model.
        norm_info: File that says how each column was scaled; None for images.
        rows: The table, where it was handed over; None: the result's own file.
        columns: Feature columns of a table that was handed over with features of pictures.
    """

    kind: str
    folder: Path
    fingerprint: str
    norm_info: Path | None = None
    rows: pl.LazyFrame | None = field(default=None, compare=False)
    columns: tuple[str, ...] = ()

    @property
    def table(self) -> Path:
        """Its Parquet file."""
        return self.folder / (ITEMS_FILE if self.kind == "splits" else f"{self.kind}.parquet")

    @property
    def features(self) -> tuple[str, ...]:
        """The feature columns of the table; none for images."""
        return self.columns if self.kind != "normalized" else read_table_info(self.folder).features


def data_source(data: Result, rows: pl.LazyFrame | None = None) -> DataSource:
    """Return the data source that a stage's result is; ``rows`` are its table, where the caller was given it."""
    section = data.manifest["section"]
    name = section.get("output_norm_feature_info_file_name")
    return DataSource(data.stage, data.folder, data.fingerprint, data.folder / name if name else None, rows)


def read_subsets(source: DataSource, names: Sequence[str], target: str) -> dict[str, pl.DataFrame]:
    """Return the rows of each subset, in the order of ``names``.

    Args:
        source: Result to read.
        names: Subsets.
        target: The target column. If it was scaled, its scaling is undone, so that predictions and errors are in the
            column's own unit.

    Raises:
        DataError: A subset has no rows, an item occurs twice, or the table lacks ``subset`` or ``item``.
    """
    rows = read_parquet(source.table) if source.rows is None else source.rows.collect()
    for column in ("item", "subset"):
        if column not in rows.columns:
            raise DataError(f"{source.table}: {unknown('Column', column, rows.columns)}")
    existing = rows["subset"].unique().sort().to_list()
    for name in names:
        if name not in existing:
            raise DataError(f"{source.kind} has no rows in the subset {name!r}. {unknown('Subset', name, existing)}")
    check_disjoint(rows)
    rows = in_own_unit(rows, source.norm_info, target)
    return {name: rows.filter(pl.col("subset") == name) for name in names}


def in_own_unit(rows: pl.DataFrame, norm_info: Path | None, column: str) -> pl.DataFrame:
    """Return the rows with the scaling of one column undone, if it was scaled."""
    infos = read_normalization(norm_info).norm_infos if norm_info and column in rows.columns else ()
    return rows.with_columns(info.inverse(rows[column]).alias(column) for info in infos if info.name == column)


def check_disjoint(rows: pl.DataFrame) -> None:
    """Refuse items that are in two subsets, or twice in one: the model would be tested on what it was trained on.

    Raises:
        DataError: Names each such item and its subsets.
    """
    twice = rows.group_by("item").agg("subset").filter(pl.col("subset").list.len() > 1).sort("item")
    if len(twice):
        problems = [f"{item}: in {', '.join(sorted(names))}" for item, names in twice.iter_rows()]
        raise DataError(
            f"{pluralize(len(twice), 'item occurs', 'items occur')} more than once. Each belongs into one subset.",
            problems,
        )


def row_counts(subsets: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Return the number of rows of each subset."""
    return {name: len(rows) for name, rows in subsets.items()}


def require_columns(rows: pl.DataFrame, names: Iterable[str], key: str) -> None:
    """Refuse columns that a table does not have.

    Raises:
        DataError: Names the column, and ``key``, the key of the spec that asks for it.
    """
    known = set(rows.columns)  # features of pictures are thousands
    for name in names:
        if name not in known:
            raise DataError(f"{key}: {unknown('Column', name, rows.columns)}")
