"""Why two experiments differ: keys, data and code; how much, surely or by chance; and the items that changed sides.

Belongs here: comparing two experiments item by item. Does not belong here: rankings of many
(``assay.comparison.ranking``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import SubsetData, pluralize, readable_number
from assay.analysis.build import TASK_ANALYSES, inputs_of_model
from assay.comparison.load import ComparisonData, Entry
from assay.comparison.ranking import differing_keys
from assay.datasets.schema import PREDICTED_ITEMS_FILE
from assay.errors import AssayError, DataError, shorten
from assay.experiments.contents import stage_results
from assay.metrics.intervals import LEAST_PAIRED, NONE, paired_intervals
from assay.metrics.registry import get_metric, get_metrics
from assay.metrics.regression import absolute_errors
from assay.metrics.samples import ClassificationSample, Floats, MultiLabelSample, RegressionSample
from assay.pipeline import STAGES
from assay.spec.analysis import ResultAnalyzer
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.training.predictions import PREDICTIONS
from assay.utils.text import text_table

RESAMPLES, CONFIDENCE = 2000, 0.95
COUNTED = ("accuracy", "exact_match")
"""Metrics that are the share of items with a right answer, about which McNemar's test is."""
MOST_ITEMS = 10
"""Items that are listed on each side."""


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

    @property
    def better(self) -> str:
        """Which one is surely better by the main metric: ``first``, ``second`` or, where chance explains it, nothing.

        The interval of few mistakes is narrower than it should be, so the exact test of these must agree.
        """
        main = self.metrics[0]
        explained = main.name in COUNTED and self.chance is not None and self.chance >= 1 - CONFIDENCE
        return "" if explained else main.verdict


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
        if not entry.scores:
            raise AssayError(
                f"{entry.experiment_id}: {entry.note or f'no results yet: assay run {entry.experiment_id}'}."
            )
    results = tuple(stage_results(root, entry.experiment_id) for entry in entries)
    metrics: tuple[MetricDifference, ...] = ()
    moved, chance, tested = pl.DataFrame(), None, 0
    if entries[0].tested == entries[1].tested:
        subsets = tuple(_subset(found, data.subset) for found in results)
        metrics = _metrics(entries[0].task, subsets, seed, paired=_in_one_order(results, data.subset))
        moved = _moved(results, subsets, data.subset)
        chance = _chance(moved) if len(moved) else None
        tested = len(np.unique(subsets[0].groups))
    keys = [dict(entry.keys) for entry in entries]
    differing = {key: (keys[0].get(key), keys[1].get(key)) for key in differing_keys(keys)}
    between = _in_between(data, entries, differing)
    return Pair(entries, differing, _stages(results), metrics, moved, chance, between, tested)


def _subset(results: Mapping[str, Result], subset: str) -> SubsetData:
    """Return the predictions of a subset, items in the order of their names where there is one row per item."""
    model, predictions = results["trained_model"].folder, results["predictions"].folder
    splits = results["splits"].folder if "splits" in results else None
    rows = read_parquet(predictions / PREDICTIONS).filter(pl.col("subset") == subset)
    inputs = inputs_of_model(model, predictions, splits, None, rows.sort("item", maintain_order=True).lazy())
    found = {data.subset: data for data in TASK_ANALYSES[inputs.task].read(inputs, ResultAnalyzer())}
    if subset not in found:
        raise DataError(f"{predictions / PREDICTIONS} has no items of subset {subset}.")
    return found[subset]


def _in_one_order(results: Sequence[Mapping[str, Result]], subset: str) -> bool:
    """Return whether whole images were predicted in the same order; items were sorted."""
    files = [found["predictions"].folder / PREDICTED_ITEMS_FILE for found in results]
    if not all(file.is_file() for file in files):
        return True
    one, other = (read_parquet(file, ["subset", "item"]).filter(pl.col("subset") == subset) for file in files)
    return one.equals(other)


def _metrics(task: str, subsets: Sequence[SubsetData], seed: int, paired: bool) -> tuple[MetricDifference, ...]:
    one, other = subsets
    names = ResultAnalyzer().metrics_for(task)
    classes = len(one.sample.class_counts) or None
    metrics = {name: metric for name, metric in get_metrics(names, task, classes).items() if not metric.per_class}
    rng = np.random.default_rng(seed)
    samples = (one.sample, other.sample)
    ends = dict.fromkeys(metrics, NONE)
    if paired:
        ends = paired_intervals(metrics, samples, one.groups, rng, resamples=RESAMPLES, confidence=CONFIDENCE)
    return tuple(
        MetricDifference(
            name,
            (float(metric.compute(one.sample)[0]), float(metric.compute(other.sample)[0])),
            *(float(end) for end in ends[name]),
        )
        for name, metric in metrics.items()
    )


def _moved(results: Sequence[Mapping[str, Result]], subsets: Sequence[SubsetData], subset: str) -> pl.DataFrame:
    """Return the items on which one is better, the most different first; for numbers, a tenth of all items."""
    samples = [data.sample for data in subsets]
    if not isinstance(samples[0], RegressionSample | ClassificationSample | MultiLabelSample):
        return pl.DataFrame()  # whole images have no single answer per item
    one, other = (_answers(found, subset) for found in results)
    errors = [_errors(sample) for sample in samples]
    better = errors[0] - errors[1]
    table = one.rename({"answer": "first"}).with_columns(
        second=other["answer"],
        better=pl.Series(np.where(better > 0, "second", "first")),
        gain=pl.Series(np.abs(better)),
    )
    changed = table.filter(pl.col("gain") > 0).sort("gain", "item", descending=[True, False])
    return changed if not isinstance(samples[0], RegressionSample) else changed.head(max(len(table) // 10, 1))


def _answers(found: Mapping[str, Result], subset: str) -> pl.DataFrame:
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


def _stages(results: Sequence[Mapping[str, Result]]) -> dict[str, str]:
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
        elif one["inputs"] != other["inputs"]:
            reasons[stage] = "what it is made from"
        else:
            reasons[stage] = "the data themselves"
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


def as_lines(pair: Pair, subset: str) -> list[str]:
    """Return the comparison for a terminal."""
    first, second = (entry.experiment_id for entry in pair.entries)
    lines = [_headline(pair, subset)]
    if pair.metrics:
        lines += ["", *text_table(("metric", first, second, "difference", "95% interval"), _metric_rows(pair))]
    if pair.keys:
        rows = [(key, *(shorten(value) for value in values)) for key, values in pair.keys.items()]
        lines += ["", *text_table(("key", first, second), rows)]
    if pair.stages:
        lines += ["", "Results that differ: " + "; ".join(f"{name} ({why})" for name, why in pair.stages.items())]
    if len(pair.moved):
        lines += ["", *_moved_lines(pair)]
    lines += [""] * bool(pair.explained)
    for name, keys, value in pair.explained:
        lines.append(f"In between: {name} differs from {first} only in {', '.join(keys)}: {readable_number(value)}")
    return lines


def _headline(pair: Pair, subset: str) -> str:
    first, second = (entry.experiment_id for entry in pair.entries)
    if not pair.metrics:
        return f"{first} and {second} were tested on different items of {subset}: their numbers can't be compared."
    main = pair.metrics[0]
    label, chance = get_metric(main.name).label, ""
    if pair.chance is not None and pair.entries[0].task != "regression":
        sides = pair.moved["better"].to_list()
        chance = (
            f"; {pluralize(sides.count('second'), 'item')} only {second} has right, {sides.count('first')} only {first}"
        )
        chance += f", p = {pair.chance:.2g}"
    if not pair.keys and not pair.stages:
        return f"{first} and {second} are the same experiment."
    better = {"first": first, "second": second}.get(pair.better)
    change = f"{label} {readable_number(main.values[0])} and {readable_number(main.values[1])}"
    if pair.tested < LEAST_PAIRED:
        return f"Too few items of {subset} to tell which is better ({pair.tested} of {LEAST_PAIRED}): {change}{chance}."
    if better is None:
        return f"Neither is surely better: {change}, chance may explain it{chance}."
    return f"{better} is better: {change}{chance}."


def _metric_rows(pair: Pair) -> list[tuple[str, ...]]:
    rows = []
    for each in pair.metrics:
        change = each.values[1] - each.values[0]
        interval = "" if np.isnan(each.low) else f"[{each.low:+.4g}, {each.high:+.4g}]"
        values = (readable_number(None if np.isnan(value) else value) for value in each.values)
        rows.append((each.name, *values, "" if np.isnan(change) else f"{change:+.4g}", interval))
    return rows


def _moved_lines(pair: Pair) -> list[str]:
    first, second = (entry.experiment_id for entry in pair.entries)
    lines = []
    for side, name in (("second", second), ("first", first)):
        rows = pair.moved.filter(pl.col("better") == side)
        if len(rows):
            shown = [tuple(row) for row in rows.head(MOST_ITEMS).select("item", "target", "first", "second").rows()]
            more = f", the first {MOST_ITEMS}" if len(rows) > MOST_ITEMS else ""
            lines.append(f"Better in {name} ({pluralize(len(rows), 'item')}{more}):")
            lines += [f"  {line}" for line in text_table(("item", "target", first, second), shown)]
    return lines
