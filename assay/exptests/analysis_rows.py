"""How tests of metrics find the one row of ``analysis.parquet`` that they are about.

Belongs here: looking up a row, and the sentence when it is not there. Does not belong here: a test.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.errors import unknown


@dataclass(frozen=True)
class MetricRow:
    """One measured metric; None where it is not defined."""

    value: float | None
    ci_low: float | None
    ci_high: float | None
    baseline: float | None
    baseline_name: str
    unit: str

    def as_text(self) -> str:
        """Return the value with its interval and unit."""
        if self.value is None:
            return "not defined"
        between = "" if self.ci_low is None or self.ci_high is None else f" [{self.ci_low:.4g}, {self.ci_high:.4g}]"
        return f"{self.value:.4g}{between}{f' {self.unit}' if self.unit else ''}"


def find_row(path: Path, subset: str, metric: str, class_name: str = "") -> MetricRow | str:
    """Return the row of a metric, or the sentence that says what is there instead."""
    table = pl.read_parquet(path)
    for column, wanted in (("subset", subset), ("metric", metric), ("class", class_name)):
        choices = table[column].unique().to_list()
        if wanted not in choices:
            shown = [choice or "'' (all)" for choice in choices]
            return f"In the analysis, {unknown(column.capitalize(), wanted, shown)}"
        table = table.filter(pl.col(column) == wanted)
    row = table.row(0, named=True)
    return MetricRow(**{name: row[name] for name in MetricRow.__dataclass_fields__})
