"""What the plots of a comparison show: curves over the epochs, and the metric against the keys that were varied.

Belongs here: choosing panels and thinning curves. Does not belong here: drawing (``assay.plots.comparison``,
``assay.dashboard.charts``).
"""

from collections.abc import Iterator
from typing import Any

import polars as pl

from assay.comparison.load import Entry, Score
from assay.comparison.ranking import Ranking
from assay.plots.common import Curve, Panel, Point
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
