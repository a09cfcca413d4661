"""Picture of the metrics that have one value per class."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.metrics.registry import label_of
from assay.plots.style import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILLION, headline, literal, render, short

MARKS = {
    "f1": ("o", BLUE),
    "iou": ("o", BLUE),
    "ap50_95": ("o", BLUE),
    "precision": (">", ORANGE),
    "recall": ("<", GREEN),
    "average_precision": ("D", PURPLE),
    "dice": ("D", PURPLE),
    "ap50": ("D", PURPLE),
}
SPARE = (("s", VERMILLION), ("^", SKY))
MOST_CLASSES = 40


def class_scores(rows: pl.DataFrame, title: str) -> bytes:
    """Draw one line per class, those with the lowest values first, and one mark per metric.

    Args:
        rows: Columns class, metric, value, ci_low, ci_high, count, of one subset; null values are left out. The first
            metric orders the classes and shows its interval, F1 rather than any other.
        title: Headline.
    """
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    leading = "f1" if "f1" in metrics else metrics[0]
    leaders = rows.filter(pl.col("metric") == leading).sort("value", "class", nulls_last=True).head(MOST_CLASSES)
    classes = leaders["class"].to_list()

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, row in enumerate(leaders.iter_rows(named=True)):
            if row["ci_low"] is not None:
                axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=BLUE, linewidth=6, alpha=0.25)
        spare = iter(SPARE * len(metrics))
        for metric in metrics:
            marker, colour = MARKS[metric] if metric in MARKS else next(spare)
            _draw_marks(axes, rows.filter(pl.col("metric") == metric), classes, marker, colour)
        _label(axes, leaders, classes)
        figure.legend(loc="outside lower center", ncols=len(metrics))
        left_out = rows["class"].n_unique() - len(classes)
        more = f" {left_out} better classes are left out." if left_out else ""
        headline(axes, title, f"Bar: interval of {label_of(leading)}. Right: how many of the class there are.{more}")

    return render(760, 120 + 26 * len(classes), draw)


def _draw_marks(axes: Axes, rows: pl.DataFrame, classes: list[str], marker: str, colour: str) -> None:
    values = dict(rows.filter(pl.col("value").is_not_null()).select("class", "value").iter_rows())
    shown = [(values[name], place) for place, name in enumerate(classes) if name in values]
    (metric,) = rows["metric"].unique()
    across, down = [value for value, _ in shown], [place for _, place in shown]
    label = literal(label_of(metric))
    axes.plot(across, down, marker=marker, color=colour, linestyle="none", alpha=0.85, label=label)


def _label(axes: Axes, leaders: pl.DataFrame, classes: list[str]) -> None:
    axes.set_yticks(range(len(classes)), [short(name) for name in classes])
    axes.set_ylim(len(classes) - 0.4, -0.6)
    low = min(axes.get_xlim()[0], 0.98)
    axes.set_xlim(max(0.0, low), 1.0 + 0.02 * (1.0 - max(0.0, low)))
    axes.tick_params(length=0)
    for place, count in enumerate(leaders["count"]):
        axes.annotate(f"{count:,}", (1.01, place), xycoords=("axes fraction", "data"), va="center", color=FAINT)
