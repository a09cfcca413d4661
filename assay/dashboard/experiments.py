"""One experiment as the dashboard knows it, from the rows of three tables.

Belongs here: what is known of an experiment. Does not belong here: when it is read (``catalogue``).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from assay.comparison.load import Entry, Score, Tables, score_of, why_not_its_own
from assay.dashboard.file_tables import FileTables
from assay.experiments.folders import ExperimentFolders
from assay.spec.dotted import flatten
from assay.spec.experiment import learning_of
from assay.spec.ids import is_id
from assay.spec.secrets import without_keys

Scores = Mapping[str, Mapping[str, Score]]
"""By subset, then by metric."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """One experiment that ran, as one look found it; the same object as long as nothing of it changes.

    Attributes:
        experiment_id: Its ID.
        task: What it learns: the task, or multi_label.
        name: Free text of the user.
        description: Free text of the user.
        tags: The user's own words.
        model: Kind of its model; empty when unknown.
        evaluates: Whose model it evaluates; empty where it trained its own.
        started: When its folder was made, UTC; None when its run ID does not say.
        epochs: How many epochs it was trained for; None when unknown.
        spec: Its resolved spec, without secrets.
        keys: The same with dots.
        scores: By subset, then by metric, in the order in which they were asked for; empty without results.
        note: Why there are no scores; empty if there are.
    """

    experiment_id: str
    task: str
    name: str
    description: str
    tags: Mapping[str, str]
    model: str
    evaluates: str
    started: datetime | None
    epochs: int | None
    spec: Mapping[str, Any]
    keys: Mapping[str, Any]
    scores: Scores
    note: str

    def entry(self, subset: str) -> Entry:
        """Return what a ranking by a metric on one subset wants to know."""
        scores = self.scores.get(subset, {})
        return Entry(self.experiment_id, self.task, self.name, None, self.keys, scores, self.epochs, self.note)


def read_experiments(root: Path, tables: Tables | FileTables) -> list[Experiment]:
    """Return the experiments that the tables tell of.

    Raises:
        StorageError: A file was replaced meanwhile.
    """
    epochs = dict(tables.last_epochs().iter_rows())
    scores = _by_experiment(tables.scores())
    return [
        _experiment(root, name, run_id or "", json.loads(text or "{}"), epochs.get(name), scores.get(name, {}))
        for name, run_id, text in tables.runs().iter_rows()
        if is_id(name)  # a folder that somebody made by hand may be called anything
    ]


def _by_experiment(rows: pl.DataFrame) -> dict[str, dict[str, dict[str, Score]]]:
    found: dict[str, dict[str, dict[str, Score]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["experiment_id"], {}).setdefault(row["subset"], {})[row["metric"]] = score_of(row)
    return found


def _experiment(
    root: Path, name: str, run_id: str, spec: Mapping[str, Any], epochs: int | None, scores: Scores
) -> Experiment:
    shown = without_keys(dict(spec), frozenset(spec.get("remove_key_list", ())))
    folder = ExperimentFolders(root).find(name) if scores else None
    why_not = why_not_its_own(root, folder.path, spec) if folder else "" if scores else "no results yet"
    return Experiment(
        experiment_id=name,
        task=learning_of(spec),
        name=shown.get("name", ""),
        description=shown.get("description", ""),
        tags=shown.get("tags", {}),
        model=((shown.get("trained_model") or {}).get("model") or {}).get("kind", ""),
        evaluates=((shown.get("existing_experiment") or {}).get("found") or {}).get("experiment_id", ""),
        started=started_at(run_id),
        epochs=epochs,
        spec=shown,
        keys=flatten(shown),
        scores={} if why_not else scores,
        note=f"{why_not}: assay run {name}" if why_not else "",
    )


def started_at(run_id: str) -> datetime | None:
    """Return the time that a run ID begins with, UTC."""
    try:
        return datetime.strptime(run_id.partition("Z")[0], "%Y-%m-%dT%H.%M.%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
