"""The tables of all experiments, as a comparison asks for them.

Belongs here: SQL, whose only foreign texts are quoted IDs. Does not belong here: what the rows mean.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from assay import warehouse
from assay.analysis.base import ANALYSIS_SCHEMA
from assay.comparison.entries import HISTORY
from assay.sql_text import quote_literal
from assay.stored_tables import find_tables

SPECS = pl.Schema({"experiment_id": pl.String(), "spec": pl.String()})
RUNS = pl.Schema({"experiment_id": pl.String(), "run_id": pl.String(), "spec": pl.String()})
EPOCHS = pl.Schema({"experiment_id": pl.String(), "epoch": pl.Int32()})

SCORES = pl.Schema(
    {"experiment_id": pl.String(), **{name: kind for name, kind in ANALYSIS_SCHEMA.items() if name != "class"}}
)
"""Of the metrics about all classes."""

READ = frozenset({"main.experiments", "main.analysis", "main.training_history"})
"""Full names of the tables that are asked; the others, however out of date, need not be refreshed for it."""


@dataclass(frozen=True)
class Tables:
    """What the tables say of some experiments, or of all.

    Attributes:
        root: Storage root.
        ids: The experiments; None for all.
    """

    root: Path
    ids: Collection[str] | None = None

    def specs(self) -> pl.DataFrame:
        """Return ID and spec of the experiments that have a row, which are those that ran."""
        return self._select("experiments", SPECS)

    def runs(self) -> pl.DataFrame:
        """Return ID, run ID and spec of the experiments that have a row."""
        return self._select("experiments", RUNS)

    def scores(self) -> pl.DataFrame:
        """Return the metrics about all classes, in the order in which each experiment lists them."""
        return self._select("analysis", SCORES, "AND class = ''")

    def history(self) -> pl.DataFrame:
        """Return what was measured in every epoch, sorted by epoch."""
        return self._select("training_history", HISTORY, "ORDER BY epoch")

    def last_epochs(self) -> pl.DataFrame:
        """Return the last epoch of every experiment that was trained."""
        return self._select("training_history", EPOCHS, "GROUP BY experiment_id", epoch="max(epoch)")

    def _select(self, table: str, columns: pl.Schema, further: str = "", **computed: str) -> pl.DataFrame:
        if table not in self._stored or (self.ids is not None and not self.ids):
            return pl.DataFrame(schema=columns)
        chosen = ", ".join(f"{computed[name]} AS {name}" if name in computed else name for name in columns)
        statement = f"SELECT {chosen} FROM {table} WHERE {self._meant} {further}"  # noqa: S608
        return warehouse.query(self.root, statement)

    @property
    def _meant(self) -> str:
        if self.ids is None:
            return "true"
        return f"experiment_id IN ({', '.join(quote_literal(name) for name in sorted(self.ids))})"

    @cached_property
    def _stored(self) -> set[str]:
        """Names of the tables that hold something."""
        return {found.table for found in find_tables(self.root, READ.__contains__)}
