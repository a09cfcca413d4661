"""Plots of how good a model is: metrics with intervals and trivial baselines, predicted numbers and their residuals."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.metrics.samples import Floats
from assay.plots.common import BLUE, FAINT, GRID, INK, VERMILLION, subset_colour
from assay.plots.style import headline, literal, render


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


MAX_POINTS = 3000
"""Number of items up to which each is a dot; more are drawn as cells, shaded by how many items they hold."""


def predicted_vs_target(target: Floats, prediction: Floats, unit: str = "", title: str = "Predictions") -> bytes:
    """Draw each item's prediction over its target; on the line both are equal.

    Args:
        target: (n,) in ``unit``.
        prediction: (n,) in ``unit``.
        unit: Unit of the target; empty where it is not known.
        title: Headline.
    """
    low, high = _limits(np.concatenate([target, prediction]))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        if len(target) <= MAX_POINTS:
            alpha = float(np.clip(60 / np.sqrt(len(target) + 1) / 4, 0.15, 0.8))
            axes.scatter(target, prediction, s=18, color=BLUE, alpha=alpha, linewidths=0)
        else:
            axes.hexbin(target, prediction, gridsize=60, mincnt=1, bins="log", cmap="Blues", extent=(low, high) * 2)
        axes.plot([low, high], [low, high], color=INK, linewidth=1.2, linestyle="--")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set_xlabel(_with_unit("target", unit))
        axes.set_ylabel(_with_unit("prediction", unit))
        headline(axes, title, "On the dashed line a prediction is exact.")

    return render(600, 600, draw)


def residuals(target: Floats, prediction: Floats, unit: str = "", title: str = "Residuals") -> bytes:
    """Draw a histogram of the residuals: how often predictions are too low or too high, and by how much.

    Args:
        target: (n,) in ``unit``.
        prediction: (n,) in ``unit``.
        unit: Unit of the target; empty where it is not known.
        title: Headline.
    """
    errors = prediction - target

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        bins = int(np.clip(np.sqrt(len(errors)) * 1.5, 8, 50))
        axes.hist(errors, bins=bins, color=BLUE, edgecolor="white", linewidth=0.6)
        axes.axvline(0, color=INK, linewidth=1.2, linestyle="--")
        axes.axvline(errors.mean(), color=VERMILLION, linewidth=1.5)
        axes.set_xlabel(_with_unit("prediction − target", unit))
        axes.set_ylabel("items")
        axes.grid(False, axis="x")
        spread = f"Mean {errors.mean():+.3g} (orange), standard deviation {errors.std():.3g}{f' {unit}' * bool(unit)}."
        headline(axes, title, spread)

    return render(640, 400, draw)


def _limits(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _with_unit(name: str, unit: str) -> str:
    return literal(f"{name} ({unit})") if unit else name
