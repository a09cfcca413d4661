"""Reads what a comparison needs: specs, metrics and histories of the chosen experiments.

Belongs here: from tables and files to entries. Does not belong here: choosing, ranking, showing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.comparison.entries import ComparisonData, Entry, Score
from assay.comparison.freshness import contradict, why_not_its_own
from assay.comparison.tables import Tables
from assay.errors import AssayError
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.secrets import without_keys
from assay.spec.dotted import flatten
from assay.spec.experiment import SECTION_NAMES, learning_of

Spec = Mapping[str, Any]


def collect(root: Path, store: SpecFiles, ids: Sequence[str], subset: str) -> ComparisonData:
    """Return everything that is known of some experiments.

    Args:
        root: Storage root.
        store: The spec files.
        ids: The experiments.
        subset: The subset whose metrics are compared.
    """
    tables = Tables(root, ids)
    history = tables.history()
    sources = _Sources(
        root,
        store,
        subset,
        specs={name: json.loads(text) for name, text in tables.specs().iter_rows()},
        scores={str(key[0]): rows for key, rows in tables.scores().partition_by("experiment_id", as_dict=True).items()},
        epochs=dict(history.group_by("experiment_id").agg(pl.col("epoch").max()).iter_rows()),
    )
    return ComparisonData(subset, tuple(sources.entry(name) for name in ids), history)


@dataclass(frozen=True)
class _Sources:
    """Where entries come from: the folders, and the tables' rows by experiment."""

    root: Path
    store: SpecFiles
    subset: str
    specs: Mapping[str, Spec]
    scores: Mapping[str, pl.DataFrame]
    epochs: Mapping[str, int]

    def entry(self, name: str) -> Entry:
        """Return one experiment; the spec beside its metrics is the one that it ran with, not its file's."""
        ran, current = self.specs.get(name), _read(self.store, name)
        spec = ran or current or {}
        folder = ExperimentFolders(self.root).find(name)
        scores = _scores(self.scores[name], self.subset) if ran and name in self.scores else {}
        why_not = why_not_its_own(self.root, folder.path, ran) if ran and folder and scores else ""
        return Entry(
            experiment_id=name,
            task=learning_of(spec),
            name=spec.get("name", ""),
            folder=folder.path if folder else None,
            keys=flatten(without_keys(dict(spec), frozenset(spec.get("remove_key_list", ())))),
            scores={} if why_not else scores,
            epochs=self.epochs.get(name),
            note=f"{why_not}: assay run {name}" if why_not else self._note(name, bool(scores), current),
        )

    def _note(self, name: str, has_scores: bool, current: Spec | None) -> str:
        if current is None:
            return f"its file is not valid: assay validate {name}"
        if has_scores:
            edited = any(contradict({"": self.specs[name].get(key)}, {"": current[key]}) for key in SECTION_NAMES)
            return f"its file was edited since: assay run {name}" if edited else ""
        if name in self.scores:
            others = self.scores[name]["subset"].unique(maintain_order=True).to_list()
            return f"no results on {self.subset}, only on {', '.join(others)}: choose one by --subset"
        return f"no results yet: assay run {name}"


def _read(store: SpecFiles, name: str) -> Spec | None:
    """Return the resolved spec of an experiment's file, None if it is not valid or gone."""
    try:
        return store.load(name).as_dict()
    except AssayError:
        return None


def _scores(rows: pl.DataFrame, subset: str) -> dict[str, Score]:
    of_subset = rows.filter(pl.col("subset") == subset)
    return {row["metric"]: score_of(row) for row in of_subset.iter_rows(named=True)}


def score_of(row: Mapping[str, Any]) -> Score:
    """Return a row of the table ``analysis`` as a score."""
    return Score(
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        baseline=row["baseline"],
        baseline_name=row["baseline_name"],
        unit=row["unit"],
        count=row["count"],
    )
