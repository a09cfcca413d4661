"""Why two experiments differ: keys, data and code; how much, surely or by chance; and the items that changed sides.

Belongs here: comparing two experiments item by item, also the best of a ranking with the next ones, and telling which
keys did it. Does not belong here: rankings of many (``assay.comparison.ranking``).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import SubsetData
from assay.analysis.build import TASK_ANALYSES, inputs_of_model
from assay.comparison.load import ComparisonData, Entry
from assay.comparison.ranking import Ranking, differing_keys
from assay.datasets.schema import PREDICTED_ITEMS_FILE
from assay.errors import AssayError, DataError, StorageError
from assay.experiments.contents import stage_results
from assay.metrics.intervals import NONE
from assay.metrics.paired import LEAST_PAIRED, paired_intervals
from assay.metrics.registry import get_metric, get_metrics
from assay.metrics.regression import absolute_errors
from assay.metrics.samples import ClassificationSample, Floats, MultiLabelSample, RegressionSample
from assay.pipeline import STAGES
from assay.spec.analysis import ResultAnalyzer
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.training.predictions import PREDICTIONS
from assay.utils.text import readable_number

RESAMPLES, CONFIDENCE = 2000, 0.95
COUNTED = ("accuracy", "exact_match")
"""Metrics that are the share of items with a right answer, about which McNemar's test is."""
THE_DATA = "the data themselves"
"""Why results of the same keys and code differ."""
MOST_PAIRED = 10
"""Experiments of a ranking with which the best one is compared item by item."""
MOST_ELEMENTS = 100_000_000
"""Weights, or cells, for all of these comparisons (some seconds); ``diff`` compares two of any size."""


@dataclass(frozen=True)
class MetricDifference:
    """One metric of both experiments on the same items.

    Attributes:
        name: Of the metric.
        values: Of the first and of the second experiment; NaN where not defined.
        low: Lower end of the interval of second minus first; NaN where there is none.
        high: Its upper end.
    """

    name: str
    values: tuple[float, float]
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Which experiment is surely better: ``first``, ``second`` or, where chance explains it, nothing."""
        higher = get_metric(self.name).higher_is_better
        if self.low > 0 or self.high < 0:
            return "second" if (self.low > 0) is higher else "first"
        return ""


@dataclass(frozen=True)
class Pair:
    """Two experiments beside each other.

    Attributes:
        entries: The first and the second.
        keys: By dotted key, both values of what differs in their specs.
        stages: Stages whose results differ, and why: other section, code or inputs.
        metrics: Where both were tested on the same items.
        moved: Items that one predicts right, or better, and the other does not: ``item``, ``better`` (``first`` or
            ``second``) and what each predicts; empty for whole images.
        chance: Probability that as uneven a split of the items that changed sides is chance (McNemar's exact test);
            None without such items.
        explained: Experiments in between: ID, keys in which it differs from the first, value of the main metric.
        steps: How the main metric gets from the first to the second, one or more keys at a time.
        tested: Number of items that the metrics rest on, or of images where the items of an image are drawn together.
    """

    entries: tuple[Entry, Entry]
    keys: Mapping[str, tuple[Any, Any]]
    stages: Mapping[str, str]
    metrics: tuple[MetricDifference, ...]
    moved: pl.DataFrame
    chance: float | None
    explained: tuple[tuple[str, tuple[str, ...], float], ...]
    tested: int = LEAST_PAIRED
    steps: tuple["ExplainedStep", ...] = ()

    @property
    def better(self) -> str:
        """Which one is surely better by the main metric: ``first``, ``second``, or nothing where it may be chance."""
        return surely_better(self.metrics[0], self.chance)


@dataclass(frozen=True)
class ExplainedStep:
    """A part of the difference of two experiments: that between two of those in between.

    Attributes:
        experiment_id: The experiment that the step leads to.
        keys: What was changed, with the values before and after.
        difference: Of the main metric.
        further: What differs besides the keys, such as the data themselves; usually nothing.
    """

    experiment_id: str
    keys: Mapping[str, tuple[Any, Any]]
    difference: MetricDifference
    further: tuple[str, ...] = ()


def surely_better(main: MetricDifference, chance: float | None) -> str:
    """Return which of two is surely better by a metric: ``first``, ``second``, or nothing where it may be chance.

    The interval of few mistakes is narrower than it should be, so the exact test of these must agree.

    Args:
        main: The metric of both.
        chance: McNemar's p of the items that changed sides; None without such items.
    """
    explained = main.name in COUNTED and chance is not None and chance >= 1 - CONFIDENCE
    return "" if explained else main.verdict


Results = Mapping[str, Result]
"""An experiment's results by stage."""


@dataclass(frozen=True)
class TestedSubset:
    """What an experiment predicted for a subset.

    Attributes:
        results: Of the experiment.
        data: The predictions, ready for metrics.
        subset: The subset's name.
    """

    __test__ = False  # its name makes pytest take it for a test class

    results: Results
    data: SubsetData
    subset: str


def read_tested(results: Results, subset: str) -> TestedSubset:
    """Return what an experiment predicted for a subset, items in the order of their names unless they are whole images.

    Raises:
        AssayError: Results are missing or damaged, or nothing was predicted for the subset.
    """
    missing = [stage for stage in ("trained_model", "predictions") if stage not in results]
    if missing:
        raise StorageError(f"Its {' and '.join(missing)} are not in this storage. Run it again.")
    return TestedSubset(results, _subset(results, subset), subset)


def compare_pair(root: Path, data: ComparisonData, first: str, second: str, seed: int = 0) -> Pair:
    """Compare two experiments.

    Args:
        root: Storage root.
        data: Both, and those that may lie in between.
        first: ID of the one.
        second: ID of the other.
        seed: Of the bootstrap.

    Raises:
        AssayError: They have different tasks, one has no results on the subset, or only one of them is known.
    """
    by_id = {entry.experiment_id: entry for entry in data.entries}
    entries = (by_id[first], by_id[second])
    if entries[0].task != entries[1].task:
        tasks = " and ".join(f"{entry.experiment_id} is {entry.task}" for entry in entries)
        raise AssayError(f"{tasks}: experiments of different tasks have nothing to compare.")
    for entry in entries:
        require_scores(entry)
    results = (stage_results(root, first), stage_results(root, second))
    pair, sides = pair_of(entries, results, data.subset, seed)
    if sides is None:
        return pair
    pair = replace(pair, explained=_in_between(data, entries, pair.keys))
    return replace(pair, steps=tuple(_steps(root, pair, sides, seed)))


def compare_items(
    results: tuple[Results, Results], task: str, subset: str, metric: str, seed: int = 0
) -> tuple[MetricDifference, float | None, int]:
    """Compare two experiments that were tested on the same items by one metric.

    Args:
        results: Of the first and of the second.
        task: Their kind of learning.
        subset: The subset whose items are compared.
        metric: The metric, over all classes.
        seed: Of the bootstrap.

    Returns:
        The difference; McNemar's p of the items that changed sides, None without such items; the number of items, or of
        images where the items of an image are drawn together.

    Raises:
        AssayError: One has no items of the subset, or the metric is none of this task.
    """
    sides = read_tested(results[0], subset), read_tested(results[1], subset)
    (difference,) = _metrics(task, sides, (metric,), seed)
    moved = _moved(sides)
    return difference, _chance(moved) if len(moved) else None, len(np.unique(sides[0].data.groups))


def require_scores(entry: Entry) -> None:
    """Refuse an experiment without results.

    Raises:
        AssayError: It has none; says why.
    """
    if not entry.scores:
        raise AssayError(f"{entry.experiment_id}: {entry.note or f'no results yet: assay run {entry.experiment_id}'}.")


def pair_of(
    entries: tuple[Entry, Entry], results: tuple[Results, Results], subset: str, seed: int = 0
) -> tuple[Pair, tuple[TestedSubset, TestedSubset] | None]:
    """Return two experiments beside each other, and what they predicted if that is about the same items."""
    keys = [dict(entry.keys) for entry in entries]
    differing = {key: (keys[0].get(key), keys[1].get(key)) for key in differing_keys(keys)}
    pair = Pair(entries, differing, _stages(results), (), pl.DataFrame(), None, (), tested=0)
    if entries[0].tested != entries[1].tested:
        return pair, None
    task, sides = entries[0].task, (read_tested(results[0], subset), read_tested(results[1], subset))
    moved = _moved(sides)
    pair = replace(
        pair,
        metrics=_metrics(task, sides, ResultAnalyzer().metrics_for(task), seed),
        moved=moved,
        chance=_chance(moved) if len(moved) else None,
        tested=len(np.unique(sides[0].data.groups)),
    )
    return pair, sides


def _subset(results: Results, subset: str) -> SubsetData:
    """Return the predictions of a subset, items in the order of their names where there is one row per item."""
    model, predictions = results["trained_model"].folder, results["predictions"].folder
    splits = results["splits"].folder if "splits" in results else None
    rows = read_parquet(predictions / PREDICTIONS).filter(pl.col("subset") == subset)
    inputs = inputs_of_model(model, predictions, splits, None, rows.sort("item", maintain_order=True).lazy())
    found = {data.subset: data for data in TASK_ANALYSES[inputs.task].read(inputs, ResultAnalyzer())}
    if subset not in found:
        raise DataError(f"{predictions / PREDICTIONS} has no items of subset {subset}.")
    return found[subset]


def _in_one_order(sides: Sequence[TestedSubset]) -> bool:
    """Return whether whole images were predicted in the same order; items were sorted."""
    files = [side.results["predictions"].folder / PREDICTED_ITEMS_FILE for side in sides]
    if not all(file.is_file() for file in files):
        return True
    one, other = (read_parquet(file, ["subset", "item"]).filter(pl.col("subset") == sides[0].subset) for file in files)
    return one.equals(other)


def _metrics(task: str, sides: Sequence[TestedSubset], names: Sequence[str], seed: int) -> tuple[MetricDifference, ...]:
    one, other = (side.data for side in sides)
    classes = len(one.sample.class_counts) or None
    metrics = {name: metric for name, metric in get_metrics(names, task, classes).items() if not metric.per_class}
    rng = np.random.default_rng(seed)
    samples = (one.sample, other.sample)
    ends = dict.fromkeys(metrics, NONE)
    if _in_one_order(sides):
        ends = paired_intervals(metrics, samples, one.groups, rng, resamples=RESAMPLES, confidence=CONFIDENCE)
    return tuple(
        MetricDifference(
            name,
            (float(metric.compute(one.sample)[0]), float(metric.compute(other.sample)[0])),
            *(float(end) for end in ends[name]),
        )
        for name, metric in metrics.items()
    )


def _moved(sides: Sequence[TestedSubset]) -> pl.DataFrame:
    """Return the items on which one is better, the most different first; for numbers, a tenth of all items."""
    samples = [side.data.sample for side in sides]
    if not isinstance(samples[0], RegressionSample | ClassificationSample | MultiLabelSample):
        return pl.DataFrame()  # whole images have no single answer per item
    one, other = (_answers(side.results, side.subset) for side in sides)
    errors = [_errors(sample) for sample in samples]
    better = errors[0] - errors[1]
    table = one.rename({"answer": "first"}).with_columns(
        second=other["answer"],
        better=pl.Series(np.where(better > 0, "second", "first")),
        gain=pl.Series(np.abs(better)),
    )
    changed = table.filter(pl.col("gain") > 0).sort("gain", "item", descending=[True, False])
    return changed if not isinstance(samples[0], RegressionSample) else changed.head(max(len(table) // 10, 1))


def _answers(found: Results, subset: str) -> pl.DataFrame:
    """Return item, target and prediction, as text, of the items whose target is known."""
    rows = read_parquet(found["predictions"].folder / PREDICTIONS).filter(pl.col("subset") == subset)
    target = next(name for name in ("target", "target_class", "target_labels") if name in rows.columns)
    predicted = {"target": "prediction", "target_class": "predicted_class", "target_labels": "predicted_labels"}[target]
    known = rows.filter(pl.col(target).is_not_null()).sort("item", maintain_order=True)
    return known.select("item", _as_text(known[target], "target"), _as_text(known[predicted], "answer"))


def _as_text(values: pl.Series, name: str) -> pl.Series:
    return pl.Series(
        name, [readable_number(value) if isinstance(value, float) else _joined(value) for value in values.to_list()]
    )


def _joined(value: Any) -> str:
    return ", ".join(value) or "none" if isinstance(value, list) else str(value)


def _errors(sample: Any) -> Floats:
    """Return how wrong each prediction is: absolute error, or 1 for a wrong class or set of labels."""
    if isinstance(sample, RegressionSample):
        return absolute_errors(sample)
    if isinstance(sample, ClassificationSample):
        wrong = sample.predicted != sample.target
    else:
        wrong = (sample.predicted != sample.target).any(axis=1)
    return np.asarray(wrong, np.float64)


def _chance(moved: pl.DataFrame) -> float:
    """Return McNemar's exact p (Psychometrika 12, 1947) of the items that changed sides."""
    from scipy.stats import binomtest

    return float(binomtest((moved["better"] == "second").sum(), len(moved), 0.5).pvalue)


def _stages(results: Sequence[Results]) -> dict[str, str]:
    """Return why the result of each stage differs: its own section or code, or only what it is made from."""
    reasons = {}
    for stage in STAGES:
        one, other = (found[stage].manifest if stage in found else None for found in results)
        if one is None or other is None or one["fingerprint"] == other["fingerprint"]:
            continue
        if one["code_version"] != other["code_version"]:
            reasons[stage] = f"code version {one['code_version']} and {other['code_version']}"
        elif (one["section"], one["seed"]) != (other["section"], other["seed"]):
            reasons[stage] = "its own keys"
        elif one["inputs"] != other["inputs"] and STAGES[stage].inputs:
            reasons[stage] = "what it is made from"
        else:
            reasons[stage] = THE_DATA
    return reasons


def _in_between(
    data: ComparisonData, entries: tuple[Entry, Entry], differing: Mapping[str, tuple[Any, Any]]
) -> tuple[tuple[str, tuple[str, ...], float], ...]:
    """Return experiments that have some of the second's values and otherwise the first's, fewest keys first."""
    found = []
    main = next(iter(entries[0].scores))
    for entry in data.entries:
        if entry in entries or entry.task != entries[0].task or entry.tested != entries[0].tested:
            continue
        keys = tuple(differing_keys([entries[0].keys, entry.keys]))
        value = entry.scores[main].value if main in entry.scores else None
        is_between = set(keys) < set(differing) and all(entry.keys.get(key) == differing[key][1] for key in keys)
        if keys and is_between and value is not None:
            found.append((entry.experiment_id, keys, value))
    return tuple(sorted(found, key=lambda each: (len(each[1]), each[0])))


def _steps(root: Path, pair: Pair, sides: tuple[TestedSubset, TestedSubset], seed: int) -> Iterator[ExplainedStep]:
    """Yield the parts of the difference along the longest path of experiments that change more and more of its keys."""
    main, task, subset = pair.metrics[0].name, pair.entries[0].task, sides[0].subset
    path = [*_longest_path(pair.explained), (pair.entries[1].experiment_id, tuple(pair.keys))]
    before, done = sides[0], frozenset[str]()
    for name, keys in path if len(path) > 1 else ():
        try:
            after = sides[1] if name == path[-1][0] else read_tested(stage_results(root, name), subset)
        except (AssayError, OSError):
            continue  # its keys become part of the next step
        new = {key: pair.keys[key] for key in keys if key not in done}
        difference = _metrics(task, (before, after), [main], seed)[0]
        further = [why for why in _stages((before.results, after.results)).values() if is_no_key(why)]
        yield ExplainedStep(name, new, difference, tuple(dict.fromkeys(further)))
        before, done = after, frozenset(keys)


def _longest_path(between: Sequence[tuple[str, tuple[str, ...], float]]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the experiments of the longest chain in which each changes the keys of the one before it, and more."""
    best: list[list[tuple[str, tuple[str, ...]]]] = []
    for name, keys, _ in between:  # fewest keys first
        before = max((path for path in best if set(path[-1][1]) < set(keys)), key=len, default=[])
        best.append([*before, (name, keys)])
    return max(best, key=len, default=[])


def is_no_key(why: str) -> bool:
    """Return whether a reason why results differ is the data or the code, rather than a key."""
    return why == THE_DATA or why.startswith("code version")


def with_sure_order(
    root: Path, ranking: Ranking, subset: str, seed: int = 0, most_elements: int = MOST_ELEMENTS
) -> Ranking:
    """Return a ranking that knows which of the next best experiments are surely worse, by the test of ``diff``.

    Args:
        root: Storage root.
        ranking: The experiments.
        subset: Whose metrics order them.
        seed: Of the bootstrap.
        most_elements: Weights, or cells, for all comparisons; fewer experiments are compared where the items are many.
    """
    surely: dict[str, bool] = {}
    try:
        best = read_tested(stage_results(root, ranking.ranked[0].experiment_id), subset)
    except (AssayError, OSError):
        return ranking
    elements = RESAMPLES * max(len(best.data.groups), best.data.sample.cells)
    for entry in ranking.ranked[1 : min(MOST_PAIRED, most_elements // elements) + 1]:
        try:
            sides = (best, read_tested(stage_results(root, entry.experiment_id), subset))
            (difference,) = _metrics(ranking.task, sides, [ranking.metric_name], seed)
            moved = _moved(sides) if ranking.metric_name in COUNTED else pl.DataFrame()
        except (AssayError, OSError, ValueError):
            continue  # of one experiment: the others are compared
        surely[entry.experiment_id] = surely_better(difference, _chance(moved) if len(moved) else None) == "first"
    return replace(ranking, surely_worse=surely)
