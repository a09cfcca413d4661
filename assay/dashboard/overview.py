"""The table of experiments on the overview, and the best experiment of every task.

Belongs here: columns and their values. Does not belong here: widgets (``assay.dashboard.views``), filters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from assay.comparison.load import HISTORY, ComparisonData, Entry, Score
from assay.comparison.ranking import Ranking, rank
from assay.comparison.terminal import interval, items_name
from assay.dashboard.data import Experiment
from assay.dashboard.filters import is_number
from assay.metrics.registry import label_of
from assay.spec.yaml_text import brief

COST_HELP = "Seconds that all its results took, those that it shares with others included"
MODEL_KIND = "trained_model.model.kind"
PREFERRED = ("test", "validation")
"""Subsets whose metrics are shown unless another is chosen."""


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: Its name in the frame.
        label: Its heading.
        help: What it contains.
        values: One per experiment: numbers, texts or times, all of one type; None where there is none.
    """

    name: str
    label: str
    help: str
    values: Sequence[Any]


def subsets_of(experiments: Sequence[Experiment]) -> list[str]:
    """Return the subsets with metrics, the preferred ones first."""
    existing = {subset for each in experiments for subset in each.scores}
    return [name for name in PREFERRED if name in existing] + sorted(existing.difference(PREFERRED))


def rankings(experiments: Sequence[Experiment], subset: str, metric: str | None = None) -> list[Ranking]:
    """Return one ranking per task and set of test items, by ``metric`` or the task's main one; the largest first."""
    entries = tuple(each.entry(subset) for each in experiments)
    ranked = rank(ComparisonData(subset, entries, pl.DataFrame(schema=HISTORY)), metric)
    return sorted(ranked, key=lambda each: -len(each.ranked) - len(each.others))


def overview_columns(
    experiments: Sequence[Experiment], ranked: Sequence[Ranking], subset: str, keys: Mapping[str, str]
) -> list[Column]:
    """Return the columns of the table; all metrics of a task only where all experiments are of that task.

    Args:
        experiments: The rows.
        ranked: The same experiments, ranked.
        subset: The subset whose metrics are shown.
        keys: Further keys of the spec, with their labels.
    """
    one_task = len({each.task for each in ranked}) == 1
    return [
        Column("experiment", "Experiment", "Its ID: click to open it", [each.experiment_id for each in experiments]),
        *_if_they_differ(Column("name", "Name", "Free text of the spec", [each.name or None for each in experiments])),
        *([] if one_task else [_task(experiments)]),
        *([] if MODEL_KIND in keys else [_model(experiments)]),
        *_if_any(Column("evaluates", "Evaluates", "Whose model", [each.evaluates or None for each in experiments])),
        *_main_metric(experiments, ranked, subset),
        *_items(experiments, ranked, subset),
        *[_key(key, label, experiments) for key, label in keys.items()],
        *(_further_metrics(experiments, ranked, subset) if one_task else []),
        Column("epochs", "Trained epochs", "How many epochs it was trained for", [each.epochs for each in experiments]),
        *_if_any(Column("cost", "Cost (s)", COST_HELP, [each.cost.wall_s for each in experiments])),
        _started(experiments),
        Column("tags", "Tags", "Free names and values of the spec", [_tags(each) for each in experiments]),
        *_if_any(
            Column(
                "note",
                "Note",
                "Why it shows no metrics, or was ended early",
                [each.note or None for each in experiments],
            )
        ),
    ]


def overview_frame(columns: Sequence[Column]) -> pl.DataFrame:
    """Return the columns as a frame; a column without any value has type text."""
    return pl.DataFrame([pl.Series(each.name, each.values, strict=False) for each in columns]).with_columns(
        pl.selectors.by_dtype(pl.Null).cast(pl.String)
    )


def _main_metric(experiments: Sequence[Experiment], ranked: Sequence[Ranking], subset: str) -> list[Column]:
    """Return value, interval and baseline of each task's main metric; with one task, its name is the heading."""
    metrics = {each.task: each.metric_name for each in ranked}
    one_task = len(metrics) == 1
    scores = [each.scores.get(subset, {}).get(metrics[each.task]) for each in experiments]
    labels = [
        _with_unit(label_of(metrics[each.task]), [score]) for each, score in zip(experiments, scores, strict=True)
    ]
    named = Column(
        "metric",
        "Metric",
        "Main metric of the task",
        [score and label for label, score in zip(labels, scores, strict=True)],
    )
    heading = f"Metric on {subset}"
    if one_task and ranked[0].metric_name:
        heading = f"{_with_unit(label_of(ranked[0].metric_name), scores)} on {subset}"
    return [
        *([] if one_task else [named]),
        Column("value", heading, "Its value", [score and score.value for score in scores]),
        Column("interval", "Interval", "How certain it is", [score and (interval(score) or None) for score in scores]),
        Column(
            "baseline", "Baseline", "What a trivial prediction reaches", [score and score.baseline for score in scores]
        ),
    ]


def _items(experiments: Sequence[Experiment], ranked: Sequence[Ranking], subset: str) -> list[Column]:
    """Return which items each experiment was tested on, where experiments of one task were tested on different ones."""
    names = {each.tested: items_name(each) for each in ranked if each.apart}
    values = [names.get(each.tested.get(subset, "")) for each in experiments]
    help_ = "Only numbers about the same items can be compared"
    return _if_they_differ(Column("items", "Items", help_, values))


def _further_metrics(experiments: Sequence[Experiment], ranked: Sequence[Ranking], subset: str) -> list[Column]:
    columns = []
    for name in dict.fromkeys(name for ranking in ranked for name in ranking.metric_names[1:]):
        scores = [each.scores.get(subset, {}).get(name) for each in experiments]
        label = _with_unit(label_of(name), scores)
        columns.append(
            Column(f"metric {name}", label, f"{name} on {subset}", [score and score.value for score in scores])
        )
    return columns


def _with_unit(label: str, scores: Sequence[Score | None]) -> str:
    """Return a label with the unit of the scores, where all have the same."""
    units = {score.unit for score in scores if score}
    unit = units.pop() if len(units) == 1 else ""
    return f"{label} ({unit})" if unit else label


def _if_they_differ(column: Column) -> list[Column]:
    return [column] if len(set(column.values)) > 1 else []


def _if_any(column: Column) -> list[Column]:
    return [column] if any(column.values) else []


def _model(experiments: Sequence[Experiment]) -> Column:
    return Column("model", "Model", "Kind of the model", [each.model or None for each in experiments])


def _task(experiments: Sequence[Experiment]) -> Column:
    return Column("task", "Task", "What it learns", [task_name(each.task) for each in experiments])


def task_name(task: str) -> str:
    """Return the name of a task as people write it."""
    return task.replace("_", " ") or "unknown task"


def _key(key: str, label: str, experiments: Sequence[Experiment]) -> Column:
    values = [each.keys.get(key) for each in experiments]
    if not all(value is None or is_number(value) for value in values):
        values = [brief(each.keys[key]) if key in each.keys else None for each in experiments]
    return Column(f"key {key}", label, f"{key} of the spec", values)


def _started(experiments: Sequence[Experiment]) -> Column:
    times = [each.started.replace(tzinfo=None) if each.started else None for each in experiments]
    return Column("started", "Started (UTC)", "When its first run began", times)


def _tags(each: Experiment) -> str | None:
    return ", ".join(f"{name}: {value}" for name, value in each.tags.items()) or None


def best_of(ranking: Ranking) -> Entry | None:
    """Return the best experiment of a ranking; None if none has a value."""
    best = ranking.ranked[0] if ranking.ranked else None
    return best if best and ranking.score(best).value is not None else None
