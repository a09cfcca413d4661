"""All experiments that ever ran, in their current state.

They are kept in memory. Every call compares the versions of the tables' files and reads only what changed: a few
experiments from their own files, many from the warehouse, which would have to be refreshed first. Does not belong here:
choosing some of them (``assay.dashboard.filters``).
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from assay.comparison.load import (
    COSTS_OF_STAGES,
    EPOCHS,
    HISTORY,
    READ,
    RUNS,
    SCORES,
    Entry,
    ExperimentCost,
    Score,
    Tables,
    costs_by_experiment,
    file_problem,
    leading_score,
    pruned_note,
    results_mismatch,
)
from assay.comparison.tested import items_digests
from assay.errors import StorageError
from assay.experiments.folders import ExperimentFolder, ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.spec.experiment import learning_of
from assay.spec.ids import is_id
from assay.spec.secrets import without_removed_keys
from assay.spec.yaml_text import flatten
from assay.storage.partitions import TableFiles, find_tables

MAX_FROM_FILES = 100
"""Number of changed experiments up to which they are read from their own files, not from the warehouse."""

ATTEMPTS = 20
"""How often reading starts again because a run has replaced a file meanwhile."""

T = TypeVar("T")

Scores = Mapping[str, Mapping[str, Score]]
"""By subset, then by metric."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """One experiment that ran; it stays the same object as long as none of its tables change.

    Attributes:
        experiment_id: Its ID.
        task: What is learned: the task of the spec, or multi_label.
        name: Free text of the user.
        description: Free text of the user.
        tags: Free names and values of the user.
        model: Kind of its model; empty if unknown.
        evaluates: ID of the experiment whose model it evaluates; empty if it trained its own.
        started: When its folder was made, in UTC; None if its run ID does not say.
        epochs: Number of trained epochs; None if unknown.
        spec: Its resolved spec, without secrets.
        keys: Its values by dotted key.
        scores: By subset, then by metric, in the order of the spec; empty without results.
        note: Why there are no scores, why its file can't be used any more, or at which epoch it was ended; else empty.
        tested: Digest of the items that the scores are about, by subset.
        cost: What its results cost.
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
    tested: Mapping[str, str] = field(default_factory=dict)
    cost: ExperimentCost = field(default_factory=ExperimentCost)

    def entry(self, subset: str) -> Entry:
        """Return what a ranking by metrics on one subset needs."""
        scores = self.scores.get(subset, {})
        tested = self.tested.get(subset, "")
        return Entry(
            *(self.experiment_id, self.task, self.name, None, self.keys, scores, self.epochs, self.note, tested),
            cost=self.cost,
        )


@dataclass(frozen=True)
class _Snapshot:
    """What was read of a storage: the versions of the files of each experiment, and the experiments."""

    versions: Mapping[str, tuple[str | None, ...]]
    experiments: tuple[Experiment, ...]


_snapshots: dict[Path, _Snapshot] = {}

_READING = threading.Lock()
"""Two pages must not read the same files, nor open the warehouse at once: DuckDB lets a process read or write a file,
not both."""


def load_experiments(
    root: Path, max_from_files: int = MAX_FROM_FILES, snapshots: dict[Path, _Snapshot] = _snapshots
) -> tuple[Experiment, ...]:
    """Return all experiments that ever ran, the newest first; only reads what changed since the last call.

    Args:
        root: The storage.
        max_from_files: Up to so many changed experiments are read from their own files, more from the warehouse.
        snapshots: What was read last from each storage; updated.

    Raises:
        StorageError, DataError: The storage can't be read.
    """
    with _READING:
        return _retry_when_replaced(lambda: _refresh(root, max_from_files, snapshots))


def with_file_notes(experiments: Sequence[Experiment], store: SpecFiles, root: Path) -> tuple[Experiment, ...]:
    """Return experiments with a note on those whose file was removed or can't be used any more.

    Only the files that were saved after their experiment ran are read: it could use the others.

    Args:
        experiments: The experiments of a storage.
        store: The spec files.
        root: The storage.
    """
    saved, ran = store.saved_at(), _find_tables(root).get("experiments")
    if not saved:  # a storage without its spec files, as somebody else's is: nothing was removed
        return tuple(experiments)
    notes = {}
    for name in (each.experiment_id for each in experiments):
        if name not in saved or ran is None or name not in ran.versions or saved[name] > _ran_at(ran, name):
            notes[name] = file_problem(store, name)
    return tuple(replace(each, note=note) if (note := notes.get(each.experiment_id)) else each for each in experiments)


def _ran_at(table: TableFiles, name: str) -> float:
    """Return when an experiment's row was written, in seconds since the epoch; 0 while it is being replaced."""
    try:
        return table.file(name).path.stat().st_mtime
    except (StorageError, FileNotFoundError):
        return 0.0


def load_history(root: Path, ids: Collection[str]) -> pl.DataFrame:
    """Return the metrics of some experiments in every epoch, sorted by epoch.

    Raises:
        StorageError: The storage can't be read.
    """
    return _retry_when_replaced(lambda: FileTables(_find_tables(root), ids).history())


def _retry_when_replaced(read: Callable[[], T]) -> T:
    for _ in range(ATTEMPTS - 1):
        try:
            return read()
        except StorageError:  # most likely a run has just replaced a file
            continue
    return read()


def _refresh(root: Path, max_from_files: int, snapshots: dict[Path, _Snapshot]) -> tuple[Experiment, ...]:
    tables = _find_tables(root)
    versions, last = _versions(tables), snapshots.get(root, _Snapshot({}, ()))
    if versions == last.versions:
        return last.experiments
    changed = {name for name, version in versions.items() if last.versions.get(name) != version}
    if len(changed) > max_from_files:
        experiments = read_experiments(root, Tables(root))
    else:
        kept = [each for each in last.experiments if each.experiment_id in versions.keys() - changed]
        experiments = kept + read_experiments(root, FileTables(tables, changed))
    snapshots[root] = _Snapshot(versions, _newest_first(experiments))
    return snapshots[root].experiments


def _find_tables(root: Path) -> dict[str, TableFiles]:
    return {files.table: files for files in find_tables(root, READ.__contains__)}


def _versions(tables: Mapping[str, TableFiles]) -> dict[str, tuple[str | None, ...]]:
    """Return the version of each table's file for every experiment that ran; a write changes it."""
    if "experiments" not in tables:
        return {}
    by_table = [table.versions for table in tables.values()]
    return {name: tuple(versions.get(name) for versions in by_table) for name in tables["experiments"].versions}


def _newest_first(experiments: Iterable[Experiment]) -> tuple[Experiment, ...]:
    oldest = datetime.min.replace(tzinfo=UTC)
    by_id = sorted(experiments, key=lambda each: each.experiment_id)
    return tuple(sorted(by_id, key=lambda each: each.started or oldest, reverse=True))


@dataclass(frozen=True)
class FileTables:
    """Reads some experiments from their own files, as ``assay.comparison.load.Tables`` reads many from the warehouse.

    Attributes:
        tables: The files of the tables, by name of the table.
        ids: The experiments.
    """

    tables: Mapping[str, TableFiles]
    ids: Collection[str]

    def runs(self) -> pl.DataFrame:
        """Return ID, run ID and spec of the experiments."""
        return self._read("experiments", RUNS)

    def scores(self) -> pl.DataFrame:
        """Return the metrics over all classes, in the order in which each experiment lists them."""
        rows = self._read("analysis", pl.Schema({**SCORES, "class": pl.String()}))
        return rows.filter(pl.col("class") == "").drop("class")

    def last_epochs(self) -> pl.DataFrame:
        """Return the last epoch of every experiment that was trained."""
        return self._read("training_history", EPOCHS).group_by("experiment_id").max()

    def history(self) -> pl.DataFrame:
        """Return the metrics of every epoch, sorted by epoch."""
        return self._read("training_history", HISTORY).sort("epoch", maintain_order=True)

    def costs(self) -> pl.DataFrame:
        """Return what the result of each stage cost; nothing of an experiment whose file is damaged.

        Raises:
            StorageError: A file was replaced meanwhile.
        """
        frames = [pl.DataFrame(schema=COSTS_OF_STAGES)]
        for key in sorted(self.ids):
            try:
                rows = FileTables(self.tables, [key])._read("costs", COSTS_OF_STAGES)
                frames.append(rows.cast(COSTS_OF_STAGES))
            except (StorageError, pl.exceptions.PolarsError):
                if not self.tables["costs"].file(key).path.exists():
                    raise
        return pl.concat(frames)

    def _read(self, name: str, columns: pl.Schema) -> pl.DataFrame:
        """Return rows of a table; columns that a file of an older version lacks are null.

        Raises:
            StorageError: A file was replaced meanwhile.
        """
        frames = [pl.DataFrame(schema=columns)]
        table = self.tables.get(name)
        for key in sorted(self.ids):
            if table is not None and key in table.versions:
                rows = table.file(key).read().with_columns(experiment_id=pl.lit(key))
                missing = [pl.lit(None, kind).alias(column) for column, kind in columns.items() if column not in rows]
                frames.append(rows.with_columns(missing).select(columns.names()))
        return pl.concat(frames, how="vertical_relaxed")


def read_experiments(root: Path, tables: Tables | FileTables) -> list[Experiment]:
    """Return the experiments that have a row in the table ``experiments``.

    Raises:
        StorageError: A file was replaced meanwhile.
    """
    epochs = dict(tables.last_epochs().iter_rows())
    scores, costs = _by_experiment(tables.scores()), costs_by_experiment(tables.costs())
    return [
        replace(
            _experiment(root, name, run_id or "", json.loads(text or "{}"), epochs.get(name), scores.get(name, {})),
            cost=costs.get(name, ExperimentCost()),
        )
        for name, run_id, text in tables.runs().iter_rows()
        if is_id(name)  # a folder made by hand may have any name
    ]


def _by_experiment(rows: pl.DataFrame) -> dict[str, dict[str, dict[str, Score]]]:
    scores: dict[str, dict[str, dict[str, Score]]] = {}
    for row in rows.iter_rows(named=True):
        scores.setdefault(row["experiment_id"], {}).setdefault(row["subset"], {})[row["metric"]] = leading_score(row)
    return scores


def _experiment(
    root: Path, name: str, run_id: str, spec: Mapping[str, Any], epochs: int | None, scores: Scores
) -> Experiment:
    shown = without_removed_keys(spec)
    folder, mismatch = _folder_and_mismatch(root, name, spec) if scores else (None, "no results yet")
    shown_scores = {} if mismatch else scores
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
        scores=shown_scores,
        note=f"{mismatch}: assay run {name}" if mismatch else pruned_note(name, spec, epochs),
        tested=items_digests(root, folder.path, shown_scores) if folder and shown_scores else {},
    )


def _folder_and_mismatch(root: Path, name: str, spec: Mapping[str, Any]) -> tuple[ExperimentFolder | None, str]:
    """Return an experiment's folder, and why its metrics are not shown."""
    try:
        folder = ExperimentFolders(root).find(name)
    except StorageError as error:
        return None, f"its entry in the index is damaged ({error})"
    return folder, results_mismatch(root, folder.path, spec) if folder else ""


def started_at(run_id: str) -> datetime | None:
    """Return the time at the beginning of a run ID, in UTC; None if there is none."""
    try:
        return datetime.strptime(run_id.partition("Z")[0], "%Y-%m-%dT%H.%M.%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
