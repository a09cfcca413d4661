"""Picture of metrics per class, with their intervals beside the trivial baseline."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.pictures.style import BLUE, FAINT, INK, SKY, headline, literal, render, short

MOST_CLASSES = 40
BAR_PX = 24
COLOURS = (BLUE, SKY)


def class_bars(rows: pl.DataFrame, labels: Mapping[str, str], title: str) -> bytes:
    """Draw one panel per metric, one bar per class, in the order of the first metric: the worst class at the bottom.

    Of many classes only the worst are shown.

    Args:
        rows: Columns metric, class, value, ci_low, ci_high, baseline, baseline_name, count; one subset.
        labels: How people write the metrics' names.
        title: Headline.
    """
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    first = rows.filter((pl.col("metric") == metrics[0]) & pl.col("value").is_not_null())
    shown = first.sort("value", "class", descending=[True, False]).tail(MOST_CLASSES)["class"].to_list()
    left_out = rows["class"].n_unique() - len(shown)
    subtitle = f"Line: interval; grey diamond: {rows['baseline_name'][0]}."
    subtitle += f" {left_out} better or undefined classes are not shown." * bool(left_out)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False).ravel()
        for axes, metric, colour in zip(panels, metrics, COLOURS, strict=False):
            _draw_panel(axes, rows.filter(pl.col("metric") == metric), shown, colour)
            axes.set_xlabel(literal(labels[metric]))
        panels[0].set_yticks(range(len(shown)), [short(name) for name in shown])
        headline(panels[0], title, subtitle)

    return render(760, 110 + max(4, len(shown)) * BAR_PX, draw)


def _draw_panel(axes: Axes, rows: pl.DataFrame, shown: list[str], colour: str) -> None:
    of_class = {row["class"]: row for row in rows.iter_rows(named=True)}
    for place, name in enumerate(shown):
        row = of_class[name]
        value = row["value"] if row["value"] is not None else 0.0
        axes.barh(place, value, height=0.72, color=colour)
        end = value
        if row["ci_low"] is not None and row["ci_high"] is not None:
            axes.plot([row["ci_low"], row["ci_high"]], [place, place], color=INK, linewidth=1.6)
            end = max(value, row["ci_high"])
        if row["baseline"] is not None:
            axes.plot(row["baseline"], place, marker="D", color=FAINT, markersize=4, linestyle="none", clip_on=False)
        text = "–" if row["value"] is None else f"{row['value']:.2f}"
        axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlim(0, 1.12)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.tick_params(length=0, axis="y", pad=8)
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")
