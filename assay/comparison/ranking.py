"""Orders experiments: one table per task, best first, with the keys in which they differ.

Belongs here: metric, order, differing keys. Does not belong here: how a table is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from assay.backfills.selection import select_experiments
from assay.comparison.load import ComparisonData, Entry, Score
from assay.errors import AssayError, SpecError, unknown
from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import sweep_members, sweep_names
from assay.metrics.registry import Metric, get_metric
from assay.spec.analysis import TASK_METRICS
from assay.spec.experiment import SECTION_NAMES
from assay.spec.ids import suggest_id, validate_id
from assay.spec.yaml_text import short_names

UNCOMPARED = ("name", "description", "exp_folder_pattern", "exp_out_location", "remove_key_list", "tags.")
"""Keys, or beginnings of keys, on which no result depends."""


@dataclass(frozen=True)
class Ranking:
    """The experiments of one task.

    Attributes:
        task: The task.
        metric_name: The metric that orders them; empty when none has results.
        ranked: Those with results, best first.
        others: Those without.
    """

    task: str
    metric_name: str
    ranked: tuple[Entry, ...]
    others: tuple[Entry, ...]

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The keys in which they differ, and how each is called in a table."""
        return differing_keys([entry.keys for entry in (*self.ranked, *self.others)])

    @cached_property
    def metric(self) -> Metric:
        """The metric that orders them."""
        return get_metric(self.metric_name)

    @property
    def metric_names(self) -> list[str]:
        """All metrics that any of them has: the ordering one, those of the task in their order, further ones."""
        found = {name for entry in self.ranked for name in entry.scores}
        in_order = (self.metric_name, *TASK_METRICS.get(self.task, ()), *sorted(found))
        return [name for name in dict.fromkeys(in_order) if name in found]

    def score(self, entry: Entry) -> Score:
        """Return an experiment's score of the metric that orders them."""
        return entry.scores[self.metric_name]

    @property
    def not_separable(self) -> list[Entry]:
        """The experiments whose intervals overlap with that of the best."""
        best = self.score(self.ranked[0])
        return [entry for entry in self.ranked[1:] if _overlap(best, self.score(entry))]


def rank(collection: ComparisonData, metric: str | None = None) -> list[Ranking]:
    """Return one ranking per task, in the order of their first experiments.

    Args:
        collection: The experiments.
        metric: What orders them; the task's first metric when left out.

    Raises:
        AssayError: No experiment has this metric.
    """
    tasks = dict.fromkeys(entry.task for entry in collection.entries)
    groups = [[entry for entry in collection.entries if entry.task == task] for task in tasks]
    if metric is not None and not any(metric in entry.scores for entry in collection.entries):
        _refuse(metric, collection)
    return [_rank(group, metric) for group in groups]


def _refuse(metric: str, collection: ComparisonData) -> None:
    stored = {name for entry in collection.entries for name in entry.scores}
    if stored:
        raise AssayError(f"--metric: {unknown('Metric', metric, stored)} On {collection.subset}, about all classes.")


def _rank(entries: Sequence[Entry], wished: str | None) -> Ranking:
    stored = {name for entry in entries for name in entry.scores}
    task = entries[0].task
    preferred = [wished or "", *TASK_METRICS.get(task, ()), *sorted(stored)]
    metric = next((name for name in preferred if name in stored), "")
    ranked = [entry for entry in entries if metric in entry.scores]
    others = tuple(entry for entry in entries if metric not in entry.scores)
    return Ranking(task, metric, _ordered(ranked, metric), others)


def _ordered(entries: Sequence[Entry], metric: str) -> tuple[Entry, ...]:
    """Return the entries best first; undefined values last, equal ones by ID."""
    if not entries:
        return ()
    sign = -1 if get_metric(metric).higher_is_better else 1

    def place(entry: Entry) -> tuple[bool, float, str]:
        value = entry.scores[metric].value
        return value is None, sign * (value or 0.0), entry.experiment_id

    return tuple(sorted(entries, key=place))


def differing_keys(specs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the keys whose values are not the same everywhere, with short names, in the order of the specs.

    A section's seed that only follows the experiment's own is left out.
    """
    keys = dict.fromkeys(chain.from_iterable(specs))
    found = [key for key in keys if not key.startswith(UNCOMPARED) and _differ([spec.get(key) for spec in specs])]
    following = {f"{name}.seed" for name in SECTION_NAMES}
    found = [key for key in found if key not in following or any(spec.get(key) != spec.get("seed") for spec in specs)]
    return short_names(found)


def _differ(values: list[Any]) -> bool:
    return values.count(values[0]) < len(values)


def _overlap(one: Score, other: Score) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


LONGEST_NAME = 60


def chosen_ids(root: Path, store: SpecFiles, ids: Sequence[str], sweep: str | None, where: str | None) -> list[str]:
    """Return the experiments named by ``ids`` or ``sweep`` (all, if neither is given) for which ``where`` holds.

    Raises:
        IdError: One of the IDs is not valid.
        SpecError: There is no such experiment or sweep.
        DataError: The condition is wrong, or holds for no experiment.
    """
    known = store.ids()
    chosen = dict.fromkeys(validate_id(name) for name in ids)
    for name in chosen:
        if name not in known:
            raise SpecError(str(store.folder), [unknown("Experiment", name, known)])
    if sweep is not None:
        chosen |= dict.fromkeys(_members(store, sweep))
    if not ids and sweep is None:
        chosen = dict.fromkeys(known)
    if where is None:
        return list(chosen)
    holding = select_experiments(store, root, where).specs
    return [name for name in chosen if name in holding]


def _members(store: SpecFiles, sweep: str) -> list[str]:
    members = list(sweep_members(store, sweep))
    if not members:
        raise SpecError(str(store.folder), [unknown("Sweep", sweep, sweep_names(store))])
    return members


def selection_name(ids: Sequence[str], sweep: str | None, where: str | None) -> str:
    """Return what the comparison is called, fit for the name of a file."""
    parts = [*([sweep] if sweep else []), *ids]
    name = suggest_id("-".join(parts)) if parts else "all-experiments"
    if len("-".join(parts)) > LONGEST_NAME:
        name = f"{suggest_id(parts[0])[:40]}-and-{len(parts) - 1}-more"
    return f"{name}-selection" if where else name
