"""What the plots of a comparison show: curves over the epochs, the metric against the keys that were varied, all keys.

Belongs here: choosing panels and thinning curves. Does not belong here: drawing (``assay.plots.comparison``,
``assay.dashboard.charts``).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from assay.comparison.importance import importances
from assay.comparison.load import STOP_AFTER, Entry, Score
from assay.comparison.ranking import Ranking
from assay.plots.common import (
    LOG_SPAN,
    WIDE_SPAN,
    Curve,
    Panel,
    ParallelAxis,
    ParallelLine,
    ParallelPlot,
    Point,
    value_ratio,
)
from assay.spec.yaml_text import shown

MAX_EPOCHS = 200
"""Of longer curves, every k-th epoch and the last are drawn, so that a page of 100 experiments stays small."""

MAX_KEYS = 6
"""Number of varied keys that get a panel."""

TRAINING, VALIDATION = "trained_model.data_train.subset", "trained_model.data_validation.subset"
"""Keys of the spec that name the subset of each role."""


def curve_panels(ranking: Ranking, history: pl.DataFrame) -> list[Panel]:
    """Return panels of the loss, and of the ordering metric where it was measured in every epoch."""
    charts = [("loss", TRAINING), ("loss", VALIDATION), (ranking.metric_name, VALIDATION)]
    by_id = {str(key[0]): rows for key, rows in history.partition_by("experiment_id", as_dict=True).items()}
    panels = []
    for metric, role in charts:
        curves = list(_curves(ranking, by_id, metric, role))
        if curves:
            name = "training" if role == TRAINING else "validation"
            label = ranking.metric.label if metric == ranking.metric_name else metric
            panels.append(Panel(f"{label}, {name}", "epoch", curves))
    return panels


def _curves(ranking: Ranking, by_id: dict[str, pl.DataFrame], metric: str, role: str) -> Iterator[Curve]:
    for rank, entry in enumerate(ranking.ranked):
        rows = by_id.get(entry.experiment_id)
        if rows is None:
            continue
        line = _thinned(rows.filter(metric=metric, subset=entry.keys.get(role) or "").drop_nulls("value"))
        if len(line):
            yield Curve(rank, line["epoch"].to_list(), line["value"].to_list())


def _thinned(line: pl.DataFrame) -> pl.DataFrame:
    step = -(-len(line) // MAX_EPOCHS) or 1
    return line if step == 1 else pl.concat([line.gather_every(step), line.tail(1)]).unique("epoch").sort("epoch")


def key_panels(ranking: Ranking) -> list[Panel]:
    """Return one panel per varied key: the ordering metric against its values."""
    entries = [(rank, entry) for rank, entry in enumerate(ranking.ranked) if ranking.score(entry).value is not None]
    panels = []
    for key, name in ranking.keys.items():
        points = [point for rank, entry in entries if (point := _point(ranking, rank, entry, key)) is not None]
        if len({shown(point.x) for point in points}) > 1:
            panels.append(Panel(f"{ranking.metric.label} by {name}", "", points))
    return panels[:MAX_KEYS]


def cost_panels(ranking: Ranking) -> list[Panel]:
    """Return a panel of the ordering metric against what the experiments cost; none if fewer than two are known."""
    points = [
        _point_at(rank, ranking.score(entry), entry.cost.wall_s)
        for rank, entry in enumerate(ranking.ranked)
        if entry.cost.wall_s is not None and ranking.score(entry).value is not None
    ]
    return [Panel(f"{ranking.metric.label} by {COST_AXIS}", "", points)] if len(points) > 1 else []


MAX_AXES = 8
"""Number of keys that get an axis beside that of the metric, the most important ones."""

LEAST_LINES = 3
"""Fewer lines across axes show nothing."""

MAX_TICKS = 5


def key_importances(ranking: Ranking) -> dict[str, float]:
    """Return the share of each varied key in what they explain of the metric; see ``importance.importances``.

    Experiments whose training was ended early don't count: their metric is that of another epoch.
    """
    rows = [
        ({key: entry.keys[key] for key in _varied(ranking) if key in entry.keys}, value)
        for entry in ranking.ranked
        if (value := ranking.score(entry).value) is not None and entry.keys.get(STOP_AFTER) is None
    ]
    return importances(rows) if len(_varied(ranking)) > 1 else {}


def parallel_plot(ranking: Ranking, shares: Mapping[str, float]) -> ParallelPlot | None:
    """Return all varied keys at once, one line per experiment; None where fewer than two keys vary.

    Args:
        ranking: The experiments.
        shares: The importance of keys that is known; those come first.
    """
    names = dict(_varied(ranking))
    keys = sorted(names, key=lambda key: -shares.get(key, 0.0))[:MAX_AXES]
    entries = [
        (rank, entry)
        for rank, entry in enumerate(ranking.ranked)
        if ranking.score(entry).value is not None and all(key in entry.keys for key in keys)
    ]
    if len(keys) < 2 or len(entries) < LEAST_LINES:
        return None
    titles = [f"{names[key]} ({shares[key]:.0%})" if key in shares else names[key] for key in keys]
    titles.append(ranking.metric.label)
    columns = [_places([entry.keys[key] for _, entry in entries], WIDE_SPAN) for key in keys]
    columns.append(_places([ranking.score(entry).value for _, entry in entries], LOG_SPAN))
    axes = [ParallelAxis(title, ticks) for title, (_, ticks) in zip(titles, columns, strict=True)]
    lines = [
        ParallelLine(rank, [places[number] for places, _ in columns], entry.keys.get(STOP_AFTER) is not None)
        for number, (rank, entry) in enumerate(entries)
    ]
    return ParallelPlot(axes, lines)


def _varied(ranking: Ranking) -> dict[str, str]:
    return {key: name for key, name in ranking.keys.items() if key != STOP_AFTER}


def _places(values: Sequence[Any], log_span: float) -> tuple[list[float], list[tuple[float, str]]]:
    """Return the place of each value on an axis, from 0 to 1, and the ticks of the axis."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        texts = sorted({shown(value) for value in values})
        places = {text: place / max(1, len(texts) - 1) for place, text in enumerate(texts)}
        return [places[shown(value)] for value in values], [(place, text) for text, place in places.items()]
    low, high = min(values), max(values)
    is_log = value_ratio(values) >= log_span
    span = math.log(high / low) if is_log else high - low

    def place(value: float) -> float:
        return (math.log(value / low) if is_log else value - low) / span if span else 0.5

    marks = sorted(set(values))
    if len(marks) > MAX_TICKS:
        steps = [number / (MAX_TICKS - 1) for number in range(MAX_TICKS)]
        marks = [low * math.exp(step * span) if is_log else low + step * span for step in steps]
    return [place(value) for value in values], [(place(mark), f"{mark:.3g}") for mark in marks]


COST_AXIS = "seconds of all stages"


def _point(ranking: Ranking, rank: int, entry: Entry, key: str) -> Point | None:
    score = ranking.score(entry)
    if key not in entry.keys or score.value is None:
        return None
    x = entry.keys[key]
    return _point_at(rank, score, x if isinstance(x, (int, float)) else shown(x))


def _point_at(rank: int, score: Score, x: Any) -> Point:
    """Return the point of a score that has a value."""
    value = score.value or 0.0
    low = value if score.low is None else score.low
    return Point(rank, x, value, low, value if score.high is None else score.high)
