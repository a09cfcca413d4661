"""What a comparison knows of its experiments.

Belongs here: the shapes of the data. Does not belong here: where they come from (``collect``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

HISTORY = pl.Schema(
    {
        "experiment_id": pl.String(),
        "epoch": pl.Int32(),
        "subset": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
    }
)
"""Columns of the histories of several experiments."""


@dataclass(frozen=True)
class Score:
    """One metric of an experiment on the compared subset.

    Attributes:
        value: Its value; None where it is not defined.
        low: Lower end of its interval, if there is one.
        high: Upper end of its interval, if there is one.
        baseline: What the trivial prediction reaches.
        baseline_name: What the trivial prediction is.
        unit: Of all these numbers; empty if none.
        count: Items.
    """

    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    baseline_name: str
    unit: str
    count: int


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
        experiment_id: Its ID.
        task: What it learns: the task, or multi_label.
        name: Free text of the user.
        folder: Its folder; None when it never ran.
        keys: Every key of its resolved spec, with dots; without secrets.
        scores: By metric, in the order in which they were asked for; empty without results.
        epochs: How many epochs it was trained for; None when unknown.
        note: Why there are no scores, or what to know about them; empty if nothing.
    """

    experiment_id: str
    task: str
    name: str
    folder: Path | None
    keys: Mapping[str, Any]
    scores: Mapping[str, Score]
    epochs: int | None = None
    note: str = ""


@dataclass(frozen=True)
class ComparisonData:
    """Everything that a comparison is made from.

    Attributes:
        subset: The subset of the scores.
        entries: The experiments.
        history: What was measured in every epoch, sorted by epoch.
    """

    subset: str
    entries: tuple[Entry, ...]
    history: pl.DataFrame
