"""What the pictures of a comparison show: curves over the epochs, and the metric against what was varied.

Belongs here: choosing panels and thinning curves. Does not belong here: drawing (``assay.plots.comparison``).
"""

from collections.abc import Iterator

import polars as pl

from assay.comparison.load import Entry
from assay.comparison.ranking import Ranking
from assay.plots.comparison import Curve, Panel, Point
from assay.spec.yaml_text import shown

MOST_EPOCHS = 200
"""Longer curves are drawn with every k-th epoch and the last, so that a page of 100 experiments stays small."""

MOST_KEYS = 6
"""How many varied keys get a panel."""

TRAINING, VALIDATION = "trained_model.data_train.subset", "trained_model.data_validation.subset"


def curve_panels(ranking: Ranking, history: pl.DataFrame) -> list[Panel]:
    """Return the panels of loss, and of the ordering metric where it was measured in every epoch."""
    wanted = [("loss", TRAINING), ("loss", VALIDATION), (ranking.metric_name, VALIDATION)]
    by_id = {str(key[0]): rows for key, rows in history.partition_by("experiment_id", as_dict=True).items()}
    panels = []
    for metric, role in wanted:
        curves = list(_curves(ranking, by_id, metric, role))
        if curves:
            what = "training" if role == TRAINING else "validation"
            label = ranking.metric.label if metric == ranking.metric_name else metric
            panels.append(Panel(f"{label}, {what}", "epoch", curves))
    return panels


def _curves(ranking: Ranking, by_id: dict[str, pl.DataFrame], metric: str, role: str) -> Iterator[Curve]:
    for place, entry in enumerate(ranking.ranked):
        rows = by_id.get(entry.experiment_id)
        if rows is None:
            continue
        line = _thinned(rows.filter(metric=metric, subset=entry.keys.get(role) or "").drop_nulls("value"))
        if len(line):
            yield Curve(place, line["epoch"].to_list(), line["value"].to_list())


def _thinned(line: pl.DataFrame) -> pl.DataFrame:
    step = -(-len(line) // MOST_EPOCHS) or 1
    return line if step == 1 else pl.concat([line.gather_every(step), line.tail(1)]).unique("epoch").sort("epoch")


def key_panels(ranking: Ranking) -> list[Panel]:
    """Return one panel per varied key: the ordering metric against its values."""
    entries = [(place, entry) for place, entry in enumerate(ranking.ranked) if ranking.score(entry).value is not None]
    panels = []
    for key, name in ranking.keys.items():
        points = [point for place, entry in entries if (point := _point(ranking, place, entry, key)) is not None]
        if len({shown(point.x) for point in points}) > 1:
            panels.append(Panel(f"{ranking.metric.label} by {name}", "", points))
    return panels[:MOST_KEYS]


def _point(ranking: Ranking, place: int, entry: Entry, key: str) -> Point | None:
    score = ranking.score(entry)
    if key not in entry.keys or score.value is None:
        return None
    x = entry.keys[key]
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return Point(place, x if isinstance(x, (int, float)) else shown(x), score.value, low, high)
