"""Plot of metrics with their intervals and trivial baselines."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.plots.colours import FAINT, GRID, INK, subset_colour
from assay.plots.style import literal, render


def metric_bars(rows: pl.DataFrame, labels: Mapping[str, str] | None = None) -> bytes:
    """Draw one strip per metric, each on its own scale: value, interval and baseline of every subset.

    Args:
        rows: Columns subset, metric, value, ci_low, ci_high, baseline, baseline_name, unit; no rows of
            single classes.
        labels: Names of the metrics as people write them.
    """
    metrics = rows["metric"].unique(maintain_order=True).to_list()
    subsets = rows["subset"].unique(maintain_order=True).to_list()
    strip_px = 44 + 24 * len(subsets)

    def draw(figure: Figure) -> None:
        strips = figure.subplots(len(metrics), 1, squeeze=False).ravel()
        for axes, metric in zip(strips, metrics, strict=True):
            of_metric = rows.filter(pl.col("metric") == metric)
            _draw_strip(axes, of_metric, (labels or {}).get(metric, metric), subsets)
        for subset in subsets:
            strips[0].plot([], [], color=subset_colour(subset, subsets), marker="o", label=literal(subset))
        baseline = ", ".join(rows["baseline_name"].unique(maintain_order=True))
        strips[0].plot([], [], color=FAINT, marker="D", linestyle="none", label=literal(f"baseline: {baseline}"))
        figure.legend(loc="outside upper left", ncols=len(subsets) + 1)

    return render(760, 60 + strip_px * len(metrics), draw)


def _draw_strip(axes: Axes, rows: pl.DataFrame, label: str, subsets: list[str]) -> None:
    (unit,) = rows["unit"].head(1)
    for row in rows.iter_rows(named=True):
        y = subsets.index(row["subset"])
        if row["baseline"] is not None:
            axes.plot(row["baseline"], y, marker="D", color=FAINT, markersize=6, linestyle="none")
        if row["value"] is not None:
            _draw_value(axes, row, y, subset_colour(row["subset"], subsets))
    if axes.get_xlim()[0] > 0:
        axes.set_xlim(0, 1.02 * axes.get_xlim()[1])
    axes.set_ylim(len(subsets) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelsize=9)
    axes.set_facecolor("#F7F9FA")
    axes.grid(True, axis="x", color=GRID)
    name = f"{label}\n({unit})" if unit else label
    axes.set_ylabel(literal(name), rotation=0, ha="right", va="center", color=INK)


def _draw_value(axes: Axes, row: dict[str, float], y: int, colour: str) -> None:
    interval = ""
    if row["ci_low"] is not None and row["ci_high"] is not None:
        axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=5, alpha=0.45)
        interval = f" [{_rounded(row['ci_low'])}, {_rounded(row['ci_high'])}]"
    axes.plot(row["value"], y, marker="o", color=colour, markersize=7)
    axes.annotate(
        f"{_rounded(row['value'])}{interval}",
        (1.01, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=10,
        annotation_clip=False,
    )


def _rounded(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.{max(0, 3 - int(np.log10(abs(value))))}f}"
