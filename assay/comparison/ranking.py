"""Chooses and ranks experiments: best first, with the keys in which they differ.

There is one ranking per task and set of test items: numbers about different items are never ranked together. Belongs
here: which experiments are compared, the ordering metric, the order, differing keys. Does not belong here: which were
tested on the same items (``assay.comparison.tested``), how a ranking is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from assay.backfills.selection import select_experiments
from assay.comparison.load import ComparisonData, Entry, Score
from assay.errors import AssayError, SpecError, unknown
from assay.experiments.folders import experiments_with_folder
from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import sweep_members, sweep_names
from assay.metrics.registry import Metric, get_metric
from assay.spec.analysis import TASK_METRICS
from assay.spec.experiment import SECTION_NAMES
from assay.spec.ids import suggest_id, validate_id
from assay.spec.yaml_text import short_names

IGNORED_KEYS = ("name", "description", "exp_folder_pattern", "exp_out_location", "remove_key_list", "tags", "board")
"""Keys, or beginnings of keys, on which no result depends."""

MAX_NAME_LENGTH = 60
"""Characters of a comparison's name; longer ones are abbreviated."""


DATA_KEYS = (
    "seed",
    *(f"{stage}." for stage in ("generated_images", "splits", "crops", "tabular", "normalized")),
    "trained_model.data_description.",
    "predictions.",
    "existing_experiment.",
)
"""Beginnings of keys on which it depends which items are tested, and what is true of them."""


@dataclass(frozen=True)
class ItemSets:
    """Experiments of one task that were tested on different items, each set of which has a ranking of its own.

    Attributes:
        sets: Number of different sets of items.
        experiments: Number of experiments with results.
        keys: The keys about data in which they differ, those that all have first; empty if the data changed under the
            same spec.
        first: Digest of the set whose ranking comes first.
    """

    sets: int
    experiments: int
    keys: tuple[str, ...]
    first: str


@dataclass(frozen=True)
class Ranking:
    """Experiments of one task that were tested on the same items.

    Attributes:
        task: The task.
        metric_name: The metric that orders them; empty if none has results.
        ranked: The experiments with results, best first.
        others: The task's experiments without results; empty but for the first ranking of a task.
        tested: Digest of the items.
        apart: The other rankings of this task; None if all its experiments were tested on the same items.
        surely_worse: Of the next best experiments that were compared with the best one item by item, whether each is
            surely worse; empty if none was.
    """

    task: str
    metric_name: str
    ranked: tuple[Entry, ...]
    others: tuple[Entry, ...]
    tested: str = ""
    apart: ItemSets | None = None
    surely_worse: Mapping[str, bool] = field(default_factory=dict)

    @cached_property
    def keys(self) -> Mapping[str, str]:
        """The keys in which the ranked ones differ, with the short name of each; none where there is one alone.

        Those without results are not in the table: of another kind, they would differ in every key.
        """
        return differing_keys([entry.keys for entry in self.ranked]) if len(self.ranked) > 1 else {}

    @cached_property
    def metric(self) -> Metric:
        """The metric that orders them."""
        return get_metric(self.metric_name)

    @property
    def metric_names(self) -> list[str]:
        """All metrics that any of them has: the ordering one, those of the task in their order, then others."""
        existing = {name for entry in self.ranked for name in entry.scores}
        in_order = (self.metric_name, *TASK_METRICS.get(self.task, ()), *sorted(existing))
        return [name for name in dict.fromkeys(in_order) if name in existing]

    def score(self, entry: Entry) -> Score:
        """Return an experiment's score of the metric that orders them."""
        return entry.scores[self.metric_name]

    @property
    def not_separable(self) -> list[Entry]:
        """The experiments whose intervals overlap with that of the best one."""
        best = self.score(self.ranked[0])
        return [entry for entry in self.ranked[1:] if _overlap(best, self.score(entry))]


def rank(collection: ComparisonData, metric: str | None = None) -> list[Ranking]:
    """Return one ranking per task and set of test items: tasks as their first experiments come, large sets first.

    Args:
        collection: The experiments.
        metric: The metric that orders them; None for the first one of each task.

    Raises:
        AssayError: No experiment has this metric.
    """
    tasks = dict.fromkeys(entry.task for entry in collection.entries)
    groups = [[entry for entry in collection.entries if entry.task == task] for task in tasks]
    if metric is not None and not any(metric in entry.scores for entry in collection.entries):
        _refuse(metric, collection)
    return [ranking for group in groups for ranking in _rank(group, metric)]


def _refuse(metric: str, collection: ComparisonData) -> None:
    stored = {name for entry in collection.entries for name in entry.scores}
    if stored:
        raise AssayError(f"--metric: {unknown('Metric', metric, stored)} On {collection.subset}, about all classes.")


def _rank(entries: Sequence[Entry], requested: str | None) -> Iterator[Ranking]:
    """Yield the rankings of one task's experiments."""
    stored = {name for entry in entries for name in entry.scores}
    task = entries[0].task
    preferred = [requested or "", *TASK_METRICS.get(task, ()), *sorted(stored)]
    metric = next((name for name in preferred if name in stored), "")
    others = tuple(entry for entry in entries if metric not in entry.scores)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if metric in entry.scores:
            groups.setdefault(entry.tested, []).append(entry)
    large_first = dict(sorted(groups.items(), key=lambda pair: -len(pair[1])))
    apart = _apart(large_first)
    for tested, group in large_first.items():
        yield Ranking(task, metric, _ordered(group, metric), others, tested, apart)
        others = ()
    if not groups:
        yield Ranking(task, metric, (), others)


def _apart(groups: Mapping[str, Sequence[Entry]]) -> ItemSets | None:
    if len(groups) < 2:
        return None
    specs = [group[0].keys for group in groups.values()]
    keys = [key for key in differing_keys(specs) if key.startswith(DATA_KEYS)]
    keys.sort(key=lambda key: not all(key in spec for spec in specs))  # such as the kind of source before its own keys
    return ItemSets(len(groups), sum(len(group) for group in groups.values()), tuple(keys), next(iter(groups)))


def _ordered(entries: Sequence[Entry], metric: str) -> tuple[Entry, ...]:
    """Return the entries, best first: undefined values last, equal ones by ID."""
    if not entries:
        return ()
    sign = -1 if get_metric(metric).higher_is_better else 1

    def sort_key(entry: Entry) -> tuple[bool, float, str]:
        value = entry.scores[metric].value
        return value is None, sign * (value or 0.0), entry.experiment_id

    return tuple(sorted(entries, key=sort_key))


def differing_keys(specs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the keys whose values are not the same everywhere, with short names, in the order of the specs.

    A section's seed that only follows the experiment's own is left out.
    """
    keys = dict.fromkeys(chain.from_iterable(specs))
    relevant = [key for key in keys if not key.startswith(IGNORED_KEYS) and not key.endswith(".remove_key_list")]
    differing = [key for key in relevant if _differ([spec.get(key) for spec in specs])]
    seeds = {f"{name}.seed" for name in SECTION_NAMES}
    own = [key for key in differing if key not in seeds or any(spec.get(key) != spec.get("seed") for spec in specs)]
    return short_names(own)


def _differ(values: list[Any]) -> bool:
    return values.count(values[0]) < len(values)


def _overlap(one: Score, other: Score) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.low <= other.high and other.low <= one.high


def chosen_ids(root: Path, store: SpecFiles, ids: Sequence[str], sweep: str | None, where: str | None) -> list[str]:
    """Return the experiments in ``ids`` or ``sweep``, all if neither is given, for which the condition ``where`` holds.

    Raises:
        IdError: One of the IDs is not valid.
        SpecError: There is no such experiment or sweep.
        DataError: The condition is invalid, or holds for no experiment.
    """
    existing = store.ids()
    chosen = dict.fromkeys(validate_id(name) for name in ids)
    for name in chosen:
        if name not in existing and name not in experiments_with_folder(root):  # one that was removed has its results
            raise SpecError(str(store.folder), [unknown("Experiment", name, existing)])
    if sweep is not None:
        chosen |= dict.fromkeys(_members(store, sweep))
    if not ids and sweep is None:
        chosen = dict.fromkeys(existing)
    if where is None:
        return list(chosen)
    matching = select_experiments(store, root, where).specs
    return [name for name in chosen if name in matching]


def _members(store: SpecFiles, sweep: str) -> list[str]:
    members = list(sweep_members(store, sweep))
    if not members:
        raise SpecError(str(store.folder), [unknown("Sweep", sweep, sweep_names(store))])
    return members


def selection_name(ids: Sequence[str], sweep: str | None, where: str | None) -> str:
    """Return a name for the comparison that can be the name of a file."""
    parts = [*([sweep] if sweep else []), *ids]
    name = suggest_id("-".join(parts)) if parts else "all-experiments"
    if len("-".join(parts)) > MAX_NAME_LENGTH:
        name = f"{suggest_id(parts[0])[:40]}-and-{len(parts) - 1}-more"
    return f"{name}-selection" if where else name
