"""The tables of all experiments, as a comparison asks for them.

Belongs here: SQL, whose only foreign texts are quoted IDs. Does not belong here: what the rows mean.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from assay import warehouse
from assay.analysis_schema import ANALYSIS_SCHEMA
from assay.comparison.entries import HISTORY
from assay.sql_text import quote_literal

SPECS = pl.Schema({"experiment_id": pl.String(), "spec": pl.String()})

SCORES = pl.Schema(
    {"experiment_id": pl.String(), **{name: kind for name, kind in ANALYSIS_SCHEMA.items() if name != "class"}}
)
"""Of the metrics about all classes."""


@dataclass(frozen=True)
class Tables:
    """What the tables say of some experiments.

    Attributes:
        root: Storage root.
        ids: The experiments.
    """

    root: Path
    ids: Collection[str]

    def specs(self) -> pl.DataFrame:
        """Return ID and spec of the experiments that have a row, which are those that ran."""
        return self._select("experiments", SPECS)

    def scores(self) -> pl.DataFrame:
        """Return the metrics about all classes, in the order in which each experiment lists them."""
        return self._select("analysis", SCORES, "AND class = ''")

    def history(self) -> pl.DataFrame:
        """Return what was measured in every epoch, sorted by epoch."""
        return self._select("training_history", HISTORY, "ORDER BY epoch")

    def _select(self, table: str, columns: pl.Schema, further: str = "") -> pl.DataFrame:
        if not self.ids or table not in self._stored:
            return pl.DataFrame(schema=columns)
        among = ", ".join(quote_literal(name) for name in sorted(self.ids))
        statement = f"SELECT {', '.join(columns)} FROM {table} WHERE experiment_id IN ({among}) {further}"  # noqa: S608
        return warehouse.query(self.root, statement)

    @cached_property
    def _stored(self) -> set[str]:
        """Names of the tables that hold something."""
        statement = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main'"
        return set(warehouse.query(self.root, statement)["table_name"])
