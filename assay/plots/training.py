"""Plot of a training: every metric over the epochs."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from assay.plots.colours import FAINT, subset_colour
from assay.plots.panels import LOG_SPAN, value_ratio
from assay.plots.style import headline, literal, render

MAX_PANELS = 4


def learning_curves(history: pl.DataFrame, best_epoch: int | None = None) -> bytes:
    """Draw one panel per metric, loss first, with one line per subset.

    Args:
        history: Columns epoch, subset, metric, value.
        best_epoch: The epoch whose weights were kept, marked by a line.
    """
    metrics = sorted(history["metric"].unique().to_list(), key=lambda name: ("loss" not in name, name))[:MAX_PANELS]
    columns = min(2, len(metrics))
    rows = -(-len(metrics) // 2)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, metric in zip(panels, metrics, strict=False):
            _draw_metric(axes, metric, history.filter(pl.col("metric") == metric), best_epoch)
        for axes in panels[len(metrics) :]:
            axes.set_visible(False)
        lines = {line.get_label(): line for axes in panels[: len(metrics)] for line in axes.get_lines()}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=len(lines))

    return render(420 * columns if columns > 1 else 640, 310 * rows + 40, draw)


def _draw_metric(axes: Axes, metric: str, rows: pl.DataFrame, best_epoch: int | None) -> None:
    subsets = rows["subset"].unique(maintain_order=True).to_list()
    for subset in subsets:
        line = rows.filter(pl.col("subset") == subset).sort("epoch")
        marker = "o" if len(line) <= 30 else None
        axes.plot(
            line["epoch"],
            line["value"],
            color=subset_colour(subset, subsets),
            label=literal(subset),
            marker=marker,
            markersize=4,
        )
    if best_epoch is not None:
        axes.axvline(best_epoch, color=FAINT, linewidth=1, linestyle="--", label=f"kept: epoch {best_epoch}")
    if "loss" in metric and value_ratio(rows["value"].drop_nulls()) > LOG_SPAN:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    headline(axes, metric.replace("_", " "))
