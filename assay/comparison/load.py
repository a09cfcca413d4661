"""Loads what a comparison needs: specs, metrics and histories of the chosen experiments.

Metrics are credited to the spec that produced them: after a run that did not finish, those of an earlier spec are left
out, and a note says so. Belongs here: from tables and manifests to entries. Does not belong here: choosing and ranking
experiments (``assay.comparison.ranking``), showing them.
"""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from assay.analysis.base import ANALYSIS_SCHEMA
from assay.comparison.tested import items_digests, manifest_of
from assay.errors import AssayError, NotThereYetError, StorageError
from assay.experiments.costs import COST_COLUMNS
from assay.experiments.folders import ExperimentFolders, read_folder_manifest
from assay.experiments.specs import SpecFiles
from assay.spec.base import is_added_and_set
from assay.spec.experiment import SECTION_NAMES, learning_of
from assay.spec.loading import mapping_names
from assay.spec.secrets import without_removed_keys
from assay.spec.yaml_text import flatten
from assay.storage import warehouse
from assay.storage.files import MANIFEST
from assay.storage.parquet import quote_literal
from assay.storage.partitions import find_tables
from assay.utils.text import canonical_json

_log = logging.getLogger(__name__)

Spec = Mapping[str, Any]

HISTORY = pl.Schema(
    {
        "experiment_id": pl.String(),
        "epoch": pl.Int32(),
        "subset": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
    }
)
"""Columns of the table ``training_history`` that are read, with the experiment."""

SPECS = pl.Schema({"experiment_id": pl.String(), "spec": pl.String()})

RUNS = pl.Schema({"experiment_id": pl.String(), "run_id": pl.String(), "spec": pl.String()})

EPOCHS = pl.Schema({"experiment_id": pl.String(), "epoch": pl.Int32()})

SCORES = pl.Schema(
    {
        "experiment_id": pl.String(),
        **{
            name: kind
            for name, kind in ANALYSIS_SCHEMA.items()
            if name not in ("class", "simple_value", "simple_model")
        },
    }
)
"""Columns of the table ``analysis``, without the class: only metrics over all classes are compared; and without what
analyses of version 0.1.0 lack."""

COSTS_OF_STAGES = pl.Schema(
    {
        "experiment_id": pl.String(),
        **{
            name: COST_COLUMNS[name]
            for name in ("stage", "fingerprint", "wall_s", "cpu_s", "gpu_s", "peak_memory_mb", "bytes", "machine")
        },
    }
)
"""Columns of the table ``costs`` that are read."""

STOP_AFTER = "trained_model.train_params.stop_after"
"""Key of a training that is ended early on purpose, as ``assay tune`` ends trials."""

READ = frozenset({"main.experiments", "main.analysis", "main.training_history", "main.costs"})
"""Full names of the tables that are queried, so that others need not be refreshed for it."""


@dataclass(frozen=True)
class Score:
    """One metric of an experiment on the compared subset.

    Attributes:
        value: Its value; None where it is not defined.
        low: Lower end of its interval, if there is one.
        high: Upper end of its interval, if there is one.
        baseline: Value of the trivial prediction; None where it is not defined.
        baseline_name: Name of the trivial prediction.
        unit: Unit of all these numbers; empty if there is none.
        count: Number of items.
    """

    value: float | None
    low: float | None
    high: float | None
    baseline: float | None
    baseline_name: str
    unit: str
    count: int


@dataclass(frozen=True)
class ExperimentCost:
    """What all results of an experiment cost when they were built, those that it shares with others included.

    Attributes:
        wall_s: Seconds from beginning to end, of all stages together; None if that of any of them is not known.
        cpu_s: Seconds of all cores together, likewise.
        gpu_s: Seconds times the number of GPUs, likewise.
        peak_memory_mb: Most memory that a stage needed, in 10^6 bytes, likewise.
        size_bytes: Size of all files.
    """

    wall_s: float | None = None
    cpu_s: float | None = None
    gpu_s: float | None = None
    peak_memory_mb: float | None = None
    size_bytes: int | None = None


def costs_by_experiment(rows: pl.DataFrame) -> dict[str, ExperimentCost]:
    """Return the cost of each experiment.

    Args:
        rows: Columns ``COSTS_OF_STAGES``.
    """
    sums = [_if_complete(name, pl.col(name).sum()) for name in ("wall_s", "cpu_s", "gpu_s")]
    others = [_if_complete("peak_memory_mb", pl.col("peak_memory_mb").max()), pl.col("bytes").sum()]
    totals = rows.group_by("experiment_id", maintain_order=True).agg(*sums, *others)
    return {str(name): ExperimentCost(*values) for name, *values in totals.iter_rows()}


def _if_complete(name: str, value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col(name).null_count() == 0).then(value).alias(name)


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
        experiment_id: Its ID.
        task: What is learned: the task of the spec, or multi_label.
        name: Free text of the user.
        folder: Its folder; None if it never ran.
        keys: The values of its resolved spec by dotted key, without secrets.
        scores: By metric, in the order of the spec; empty without results.
        epochs: Number of trained epochs; None if unknown.
        note: Why there are no scores, or what to know about them; otherwise empty.
        tested: Digest of the items that the scores are about; empty without results.
        cost: What its results cost.
    """

    experiment_id: str
    task: str
    name: str
    folder: Path | None
    keys: Mapping[str, Any]
    scores: Mapping[str, Score]
    epochs: int | None = None
    note: str = ""
    tested: str = ""
    cost: ExperimentCost = field(default_factory=ExperimentCost)


@dataclass(frozen=True)
class ComparisonData:
    """Everything that a comparison is made from.

    Attributes:
        subset: The subset of the scores.
        entries: The experiments, in the order in which they were chosen.
        history: Metrics of every epoch, sorted by epoch; columns of ``HISTORY``.
        costs: What the results of each stage cost; columns of ``COSTS_OF_STAGES``.
    """

    subset: str
    entries: tuple[Entry, ...]
    history: pl.DataFrame
    costs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COSTS_OF_STAGES))


def collect(root: Path, store: SpecFiles, ids: Sequence[str], subset: str) -> ComparisonData:
    """Return everything that a comparison shows of some experiments.

    Args:
        root: Storage root.
        store: The spec files.
        ids: The experiments.
        subset: The subset whose metrics are compared.
    """
    tables = Tables(root, ids)
    history, costs = tables.history(), tables.costs()
    sources = _Sources(
        root,
        store,
        subset,
        specs={name: json.loads(text) for name, text in tables.specs().iter_rows()},
        scores={str(key[0]): rows for key, rows in tables.scores().partition_by("experiment_id", as_dict=True).items()},
        epochs=dict(history.group_by("experiment_id").agg(pl.col("epoch").max()).iter_rows()),
        costs=costs_by_experiment(costs),
    )
    return ComparisonData(subset, tuple(sources.entry(name) for name in ids), history, costs)


@dataclass(frozen=True)
class _Sources:
    """Where entries come from: folders, spec files, and the rows of the tables by experiment."""

    root: Path
    store: SpecFiles
    subset: str
    specs: Mapping[str, Spec]
    scores: Mapping[str, pl.DataFrame]
    epochs: Mapping[str, int]
    costs: Mapping[str, ExperimentCost]

    def entry(self, name: str) -> Entry:
        """Return one experiment, with the spec that it ran with, which its file may differ from."""
        spec_of_run, (current, problem) = self.specs.get(name), _read(self.store, name)
        spec = spec_of_run or current or {}
        folder, mismatch = None, ""
        scores = _scores(self.scores[name], self.subset) if spec_of_run and name in self.scores else {}
        tested = ""
        try:
            folder = ExperimentFolders(self.root).find(name)
        except StorageError as error:
            mismatch = f"its entry in the index is damaged ({error})"
        if spec_of_run and folder and scores:
            mismatch = results_mismatch(self.root, folder.path, spec_of_run)
            tested = "" if mismatch else items_digests(self.root, folder.path, [self.subset])[self.subset]
        return Entry(
            experiment_id=name,
            task=learning_of(spec),
            name=spec.get("name", ""),
            folder=folder.path if folder else None,
            keys=flatten(without_removed_keys(spec)),
            scores={} if mismatch else scores,
            epochs=self.epochs.get(name),
            note=problem or (f"{mismatch}: assay run {name}" if mismatch else self._note(name, bool(scores), current)),
            tested=tested,
            cost=self.costs.get(name, ExperimentCost()),
        )

    def _note(self, name: str, has_scores: bool, current: Spec) -> str:
        if has_scores:
            edited = any(contradict({"": self.specs[name].get(key)}, {"": current[key]}) for key in SECTION_NAMES)
            pruned = pruned_note(name, self.specs[name], self.epochs.get(name))
            return f"its file was edited since: assay run {name}" if edited else pruned
        if name in self.scores:
            others = self.scores[name]["subset"].unique(maintain_order=True).to_list()
            return f"no results on {self.subset}, only on {', '.join(others)}: choose one by --subset"
        return f"no results yet: assay run {name}"


def pruned_note(name: str, spec: Spec, epochs: int | None) -> str:
    """Return that a training was ended on purpose, and how it goes on; empty if it was trained to its end."""
    stop = flatten(spec).get(STOP_AFTER)
    if stop is None or epochs != stop:
        return ""
    return f"pruned at epoch {stop}; to train it to its end, take stop_after out of its file: assay run {name}"


def file_problem(store: SpecFiles, name: str) -> str:
    """Return in one line why an experiment's file can't be used: it was removed, or is not valid; empty if it can."""
    return _read(store, name)[1]


def _read(store: SpecFiles, name: str) -> tuple[Spec, str]:
    """Return the resolved spec of an experiment's file, or none and why the file can't be used."""
    if not store.exists(name):
        return {}, "its file was removed; its results stay until 'assay gc'"
    try:
        return store.load(name).as_dict(), ""
    except NotThereYetError as error:
        return {}, str(error)
    except Exception as error:  # of one experiment: the others are compared
        if not isinstance(error, AssayError):
            _log.exception("The file of experiment %s can't be read.", name)
        reason = str(error).partition("\n")[0]
        return {}, f"its file is not valid ({reason}): assay validate {name}"


def _scores(rows: pl.DataFrame, subset: str) -> dict[str, Score]:
    of_subset = rows.filter(pl.col("subset") == subset)
    return {row["metric"]: leading_score(row) for row in of_subset.iter_rows(named=True)}


def leading_score(row: Mapping[str, Any]) -> Score:
    """Return the score in a row of the table ``analysis``."""
    return Score(
        value=row["value"],
        low=row["ci_low"],
        high=row["ci_high"],
        baseline=row["baseline"],
        baseline_name=row["baseline_name"],
        unit=row["unit"],
        count=row["count"],
    )


@dataclass(frozen=True)
class Tables:
    """Queries of the warehouse about some experiments, or all.

    Attributes:
        root: Storage root.
        ids: The experiments; None for all of them.
    """

    root: Path
    ids: Collection[str] | None = None

    def specs(self) -> pl.DataFrame:
        """Return ID and spec of the experiments that ran."""
        return self._select("experiments", SPECS)

    def runs(self) -> pl.DataFrame:
        """Return ID, run ID and spec of the experiments that ran."""
        return self._select("experiments", RUNS)

    def scores(self) -> pl.DataFrame:
        """Return the metrics over all classes, in the order in which each experiment lists them."""
        return self._select("analysis", SCORES, "AND class = ''")

    def history(self) -> pl.DataFrame:
        """Return the metrics of every epoch, sorted by epoch."""
        return self._select("training_history", HISTORY, "ORDER BY epoch")

    def last_epochs(self) -> pl.DataFrame:
        """Return the last epoch of every experiment that was trained."""
        return self._select("training_history", EPOCHS, "GROUP BY experiment_id", epoch="max(epoch)")

    def costs(self) -> pl.DataFrame:
        """Return what the result of each stage cost; nothing where that can't be read, on which nothing depends."""
        try:
            return self._select("costs", COSTS_OF_STAGES)
        except AssayError as error:
            _log.warning("Costs are not shown: %s", error)
            return pl.DataFrame(schema=COSTS_OF_STAGES)

    def _select(self, table: str, columns: pl.Schema, further: str = "", **computed: str) -> pl.DataFrame:
        if table not in self._stored or (self.ids is not None and not self.ids):
            return pl.DataFrame(schema=columns)
        chosen = ", ".join(f"{computed[name]} AS {name}" if name in computed else name for name in columns)
        statement = f"SELECT {chosen} FROM {table} WHERE {self._condition} {further}"  # noqa: S608
        return warehouse.query(self.root, statement)

    @property
    def _condition(self) -> str:
        if self.ids is None:
            return "true"
        return f"experiment_id IN ({', '.join(quote_literal(name) for name in sorted(self.ids))})"

    @cached_property
    def _stored(self) -> set[str]:
        """Names of the tables that have rows."""
        return {files.table for files in find_tables(self.root, READ.__contains__)}


def differing_stage(root: Path, folder: Path, spec: Mapping[str, Any]) -> str | None:
    """Return the first stage behind an experiment's metrics that was made with another section than ``spec`` has.

    Args:
        root: Storage root.
        folder: The experiment's folder.
        spec: Its resolved spec.

    Returns:
        The stage; None if all sections agree.

    Raises:
        NotThereYetError: A result that the folder refers to is gone.
        StorageError: A manifest is damaged.
    """
    manifest_of_all = read_folder_manifest(folder)
    if manifest_of_all is None:
        raise NotThereYetError(f"{folder} has no {MANIFEST}.")
    results = manifest_of_all["results"]
    if "analysis" not in results:
        return "analysis"
    analysis = manifest_of(root, "analysis", results["analysis"])
    for stage, fingerprint in {**analysis["ancestors"], "analysis": results["analysis"]}.items():
        manifest = manifest_of(root, stage, fingerprint)
        if contradict(manifest["section"], spec.get(stage, {})) or manifest["task"] not in (None, learning_of(spec)):
            return str(stage)
    return None


def contradict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a key that both have differs; other keys may come from another version of Assay.

    What a result was made from lacks keys that were added since the first version and have their default: one of these
    that has another value in ``other`` differs too. So does a section in place of a null.
    """
    first, second = flatten(_with_whole_mappings(one)), flatten(_with_whole_mappings(other))
    if any(first[key] != second[key] for key in first.keys() & second.keys()):
        return True
    if any(_lies_in_one_of(key, first) for key in second) or any(_lies_in_one_of(key, second) for key in first):
        return True
    return any(is_added_and_set(key, second[key]) for key in second.keys() - first.keys())


def _with_whole_mappings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values whose mappings of users' own keys are one value each, since no version added one of their keys."""
    whole = {key: canonical_json(value) for key, value in values.items() if value and key in mapping_names()}
    inner = {key: _with_whole_mappings(value) for key, value in values.items() if isinstance(value, Mapping)}
    return {**values, **inner, **whole}


def _lies_in_one_of(key: str, others: Mapping[str, Any]) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:count]) in others for count in range(1, len(parts)))


def results_mismatch(root: Path, folder: Path, spec: Mapping[str, Any]) -> str:
    """Return why an experiment's metrics do not belong to ``spec``, as the start of a sentence; empty if they do."""
    try:
        stage = differing_stage(root, folder, spec)
    except NotThereYetError:
        return "its results are incomplete"
    except StorageError as error:
        return f"its results are damaged ({error})"
    return f"its last run did not finish ({stage} is of an earlier spec)" if stage else ""
