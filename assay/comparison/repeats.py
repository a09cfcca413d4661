"""Repeats: experiments that differ only in the fold that they are tested on, or in their seeds; their mean and spread.

Belongs here: which experiments are repeats of each other, the statistics over them. Does not belong here: rankings of
single experiments (``assay.comparison.ranking``), showing either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assay.analysis.base import pluralize
from assay.comparison.load import ComparisonData, Entry
from assay.comparison.ranking import IGNORED_KEYS, Ranking, differing_keys
from assay.spec.splits import TEST
from assay.utils.text import canonical_json

FOLD, FOLDS, SET_INFOS = "splits.fold", "splits.folds", "splits.set_infos"
CONFIDENCE_OF_MEAN = 0.95
LEAST_REPEATS = 3
"""Fewest repeats whose mean has an interval: that of two is 18 times as wide as they are apart."""

Ends = tuple[float, float] | None
"""Lower and upper end of an interval; None where there is none."""


@dataclass(frozen=True)
class Repeats:
    """Experiments that differ only in their fold or their seeds.

    Attributes:
        members: Those with a value of the metric, by fold, then by seed.
        metric_name: The metric.
        folds: Number of folds; 0 if they differ only in seeds.
        seeds: Number of different seeds.
        subset: The subset of the scores.
    """

    members: tuple[Entry, ...]
    metric_name: str
    folds: int
    seeds: int
    subset: str

    @property
    def name(self) -> str:
        """The first and the last experiment."""
        ids = [entry.experiment_id for entry in self.members]
        return " … ".join(dict.fromkeys((ids[0], ids[-1])))

    @property
    def wanted(self) -> int:
        """Number of repeats, those without results included."""
        return max(self.folds, 1) * self.seeds

    @property
    def extent(self) -> str:
        """What was repeated how often, such as ``5 folds``, ``3 of 5 folds`` or ``15 of 5 folds x 3 seeds``."""
        several = [f"{self.folds} folds"] * bool(self.folds) + [pluralize(self.seeds, "seed")] * (self.seeds > 1)
        text = " x ".join(several)
        return text if len(self.members) == self.wanted else f"{len(self.members)} of {text}"

    @property
    def sets_of_items(self) -> int:
        """Number of different sets of items that they were tested on."""
        return len({entry.tested for entry in self.members})

    def values(self, metric: str = "") -> list[float]:
        """Return the values of a metric, that of the repeats if none is named, of the members that have one."""
        scores = [entry.scores.get(metric or self.metric_name) for entry in self.members]
        return [score.value for score in scores if score is not None and score.value is not None]

    def mean(self, metric: str = "") -> float | None:
        """Return the mean of a metric over the members; None if no member has it."""
        values = self.values(metric)
        return float(np.mean(values)) if values else None

    @cached_property
    def deviation(self) -> float | None:
        """Standard deviation over the members; None for a single one."""
        values = self.values()
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @cached_property
    def interval(self) -> Ends:
        """The interval of the mean."""
        return interval_of_mean(self.values(), self.shared)

    @property
    def shared(self) -> float | None:
        """Tested items per item learned from; 0 where all are tested on the same items, None where it is unknown."""
        return 0.0 if self.sets_of_items == 1 else _tested_per_learned(self.members[0].keys, self.subset)


def interval_of_mean(values: Sequence[float], shared: float | None) -> Ends:
    """Return the interval of the mean of repeats.

    Models of several folds learn from largely the same items, so that their values vary less than those of models of
    other items would; the variance of the mean is corrected for it (Nadeau and Bengio, "Inference for the
    Generalization Error", Machine Learning 52, 2003).

    Args:
        values: One per repeat.
        shared: Tested items per item learned from; 0 for repeats that only differ in training, on the same items.

    Returns:
        None for fewer than ``LEAST_REPEATS`` values, values without any spread, and where ``shared`` is unknown.
    """
    from scipy.special import stdtrit

    count = len(values)
    if count < LEAST_REPEATS or shared is None or min(values) == max(values):
        return None
    error = float(np.std(values, ddof=1)) * (1 / count + shared) ** 0.5
    half = float(stdtrit(count - 1, (1 + CONFIDENCE_OF_MEAN) / 2)) * error
    mean = float(np.mean(values))
    return mean - half, mean + half


def _tested_per_learned(keys: Mapping[str, Any], subset: str) -> float | None:
    if keys.get(FOLDS) and subset == TEST:
        return 1 / (int(keys[FOLDS]) - 1)
    shares = {info.get("set_name"): info.get("probability") for info in keys.get(SET_INFOS) or ()}
    share = shares.get(subset)
    return share / (1 - share) if isinstance(share, float) and share <= 0.5 else None


def repeats_in(collection: ComparisonData, rankings: Sequence[Ranking]) -> dict[str, list[Repeats]]:
    """Return the repeats among the experiments, best mean first, by task.

    Args:
        collection: The experiments.
        rankings: Of these experiments; they tell the metric of each task.
    """
    metrics = {ranking.task: ranking.metric for ranking in rankings if ranking.metric_name}
    names = {ranking.task: ranking.metric_name for ranking in rankings}
    groups: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in collection.entries:
        own = {key: value for key, value in entry.keys.items() if not _is_repeated(key) and not _is_ignored(key)}
        repeat = canonical_json({key: value for key, value in entry.keys.items() if _is_repeated(key)})
        if entry.task in metrics:
            groups.setdefault((entry.task, canonical_json(own)), {}).setdefault(repeat, entry)
    found: dict[str, list[Repeats]] = {}
    for (task, _), members in groups.items():
        repeats = _repeats(list(members.values()), names[task], collection.subset)
        if len(repeats.members) > 1:
            found.setdefault(task, []).append(repeats)
    for task, each in found.items():
        sign = -1 if metrics[task].higher_is_better else 1
        each.sort(key=lambda repeats: (sign * (repeats.mean() or 0.0), repeats.name))
    return found


def _is_repeated(key: str) -> bool:
    return key in ("seed", FOLD) or key.endswith(".seed")


def _is_ignored(key: str) -> bool:
    return key.startswith(IGNORED_KEYS) or key.endswith(".remove_key_list")


def _repeats(entries: Sequence[Entry], metric: str, subset: str) -> Repeats:
    ordered = sorted(entries, key=lambda entry: (entry.keys.get(FOLD) or 0, _seeds(entry), entry.experiment_id))
    measured = [entry for entry in ordered if metric in entry.scores and entry.scores[metric].value is not None]
    return Repeats(
        tuple(measured), metric, int(ordered[0].keys.get(FOLDS) or 0), len(set(map(_seeds, ordered))), subset
    )


def _seeds(entry: Entry) -> str:
    return canonical_json({key: value for key, value in entry.keys.items() if key == "seed" or key.endswith(".seed")})


def keys_of_repeats(groups: Sequence[Repeats]) -> dict[str, str]:
    """Return the keys in which repeats differ from each other, with the short name of each."""
    specs = [{key: value for key, value in group.members[0].keys.items() if not _is_repeated(key)} for group in groups]
    return differing_keys(specs)


def interval_of_difference(best: Repeats, other: Repeats) -> Ends:
    """Return the interval of how much higher the second's mean is, from repeats on the same items; None without."""
    pairs = {entry.tested + _seeds(entry): entry for entry in other.members}
    differences = []
    for entry in best.members:
        match = pairs.get(entry.tested + _seeds(entry))
        if match is not None:
            values = (match.scores[best.metric_name].value or 0.0, entry.scores[best.metric_name].value or 0.0)
            differences.append(values[0] - values[1])
    return interval_of_mean(differences, best.shared)


def without_repeats(rankings: Sequence[Ranking], repeats: Mapping[str, Sequence[Repeats]]) -> list[Ranking]:
    """Return the rankings without those that consist of repeats on items of their own, such as one fold each."""
    covered = {
        entry.experiment_id
        for groups in repeats.values()
        for group in groups
        if group.sets_of_items > 1
        for entry in group.members
    }
    shown = []
    for ranking in rankings:
        if not ranking.ranked or not covered.issuperset(entry.experiment_id for entry in ranking.ranked):
            shown.append(ranking)
        elif ranking.others:
            shown.append(Ranking(ranking.task, ranking.metric_name, (), ranking.others))
    return shown
