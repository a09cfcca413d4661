"""All experiments that ever ran, as they are now.

Belongs here: finding out what changed, and reading only that. Does not belong here: choosing some (``filters``).
"""

import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from assay.comparison.load import EPOCHS, HISTORY, READ, RUNS, SCORES, Entry, Score, Tables, score_of, why_not_its_own
from assay.errors import StorageError
from assay.experiments.folders import ExperimentFolders
from assay.spec.experiment import learning_of
from assay.spec.ids import is_id
from assay.spec.secrets import without_keys
from assay.spec.yaml_text import flatten
from assay.storage.partitions import TableFiles, find_tables

FEW = 100
"""Up to so many changed experiments are read from their own files, more from the warehouse."""

ATTEMPTS = 20
"""How often a look starts again because a run replaced a file meanwhile."""

Found = TypeVar("Found")

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


@dataclass(frozen=True)
class _Look:
    """What the last look at a storage found: which files, and the experiments that they tell of."""

    versions: Mapping[str, tuple[str | None, ...]]
    experiments: tuple[Experiment, ...]


_last_looks: dict[Path, _Look] = {}

_ONE_AT_A_TIME = threading.Lock()
"""Two pages must not read the same, nor open the index at once: DuckDB lets a process read or write a file."""


def load_catalogue(root: Path, few: int = FEW, looks: dict[Path, _Look] = _last_looks) -> tuple[Experiment, ...]:
    """Return all experiments that ever ran, the newest first; reads only what changed since the last look.

    Args:
        root: The storage.
        few: Up to so many changed experiments are read from their own files, more from the warehouse.
        looks: What is remembered of the last look at each storage; becomes that of this one.

    Raises:
        StorageError, DataError: The storage can't be read.
    """
    with _ONE_AT_A_TIME:
        return _again_when_replaced(lambda: _look(root, few, looks))


def load_history(root: Path, ids: Collection[str]) -> pl.DataFrame:
    """Return what was measured of some experiments in every epoch, sorted by epoch.

    Raises:
        StorageError: The storage can't be read.
    """
    return _again_when_replaced(lambda: FileTables(_find_tables(root), ids).history())


def _again_when_replaced(read: Callable[[], Found]) -> Found:
    for _ in range(ATTEMPTS - 1):
        try:
            return read()
        except StorageError:  # most likely a run has replaced a file since the look
            continue
    return read()


def _look(root: Path, few: int, looks: dict[Path, _Look]) -> tuple[Experiment, ...]:
    tables = _find_tables(root)
    versions, known = _versions(tables), looks.get(root, _Look({}, ()))
    if versions == known.versions:
        return known.experiments
    changed = {name for name, version in versions.items() if known.versions.get(name) != version}
    if len(changed) > few:
        found = read_experiments(root, Tables(root))
    else:
        kept = [each for each in known.experiments if each.experiment_id in versions.keys() - changed]
        found = kept + read_experiments(root, FileTables(tables, changed))
    looks[root] = _Look(versions, _newest_first(found))
    return looks[root].experiments


def _find_tables(root: Path) -> dict[str, TableFiles]:
    return {found.table: found for found in find_tables(root, READ.__contains__)}


def _versions(tables: Mapping[str, TableFiles]) -> dict[str, tuple[str | None, ...]]:
    """Return which files tell of each experiment that ran; they change with every write."""
    if "experiments" not in tables:
        return {}
    found = [table.versions for table in tables.values()]
    return {name: tuple(versions.get(name) for versions in found) for name in tables["experiments"].versions}


def _newest_first(experiments: Iterable[Experiment]) -> tuple[Experiment, ...]:
    oldest = datetime.min.replace(tzinfo=UTC)
    by_name = sorted(experiments, key=lambda each: each.experiment_id)
    return tuple(sorted(by_name, key=lambda each: each.started or oldest, reverse=True))


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
