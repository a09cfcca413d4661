"""What the tables say of a few experiments, read from their own files.

Belongs here: reading some partitions. Does not belong here: all experiments (``assay.comparison.load``).

A file takes 1.5 ms. Asking the index would first bring it up to date, which takes half a second with thousands of
experiments, and again whenever a run has stored something.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from assay.comparison.load import EPOCHS, HISTORY, RUNS, SCORES
from assay.stored_tables import TableFiles


@dataclass(frozen=True)
class FileTables:
    """What the tables say of some experiments, as ``assay.comparison.load.Tables`` says it of many.

    Attributes:
        tables: The tables as one look found them, by name.
        ids: The experiments.
    """

    tables: Mapping[str, TableFiles]
    ids: Collection[str]

    def runs(self) -> pl.DataFrame:
        """Return ID, run ID and spec of the experiments that have a row."""
        return self._read("experiments", RUNS)

    def scores(self) -> pl.DataFrame:
        """Return the metrics about all classes, in the order in which each experiment lists them."""
        rows = self._read("analysis", pl.Schema({**SCORES, "class": pl.String()}))
        return rows.filter(pl.col("class") == "").drop("class")

    def last_epochs(self) -> pl.DataFrame:
        """Return the last epoch of every experiment that was trained."""
        return self._read("training_history", EPOCHS).group_by("experiment_id").max()

    def history(self) -> pl.DataFrame:
        """Return what was measured in every epoch, sorted by epoch."""
        return self._read("training_history", HISTORY).sort("epoch", maintain_order=True)

    def _read(self, name: str, columns: pl.Schema) -> pl.DataFrame:
        """Return rows of a table; what a file of an older version lacks is null.

        Raises:
            StorageError: A file was replaced since the look.
        """
        found = [pl.DataFrame(schema=columns)]
        table = self.tables.get(name)
        for key in sorted(self.ids):
            if table is not None and key in table.versions:
                rows = table.file(key).read().with_columns(experiment_id=pl.lit(key))
                missing = [pl.lit(None, kind).alias(column) for column, kind in columns.items() if column not in rows]
                found.append(rows.with_columns(missing).select(columns.names()))
        return pl.concat(found, how="vertical_relaxed")
