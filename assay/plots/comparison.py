"""Plots of many experiments as SVG: their curves, their metric against what was varied, and all that was varied.

Every line and dot has the ID ``row-<rank>``, so that a page can connect it with a row of its table.

Belongs here: drawing. Does not belong here: which experiments, metrics and keys are drawn (``assay.comparison``).
"""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from assay.plots.common import (
    BLUE,
    EXPERIMENT_COLOURS,
    FAINT,
    GREY,
    INK,
    LOG_SPAN,
    WIDE_SPAN,
    Curve,
    Panel,
    ParallelLine,
    ParallelPlot,
    Point,
    value_ratio,
)
from assay.plots.style import headline, literal, render_svg, short
from assay.utils.text import pluralize

PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 380, 300
PARALLEL_HEIGHT_PX = 380
COLUMNS = 3
FINE_ABOVE = 30
"""Number of experiments above which lines and dots are finer."""
SPREAD = 0.5
"""Width over which experiments with the same text are spread, in units of the distance between two texts."""


def draw_panels(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Draw panels side by side: few experiments in a colour each; of many, the best one before the others in grey.

    Args:
        panels: At least one.
        names: The experiments by rank, best first.

    Returns:
        The SVG.
    """
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)

    def draw(figure: Figure) -> None:
        charts = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axes, panel in zip(charts, panels, strict=False):
            _draw(axes, panel, len(names))
        for axes in charts[len(panels) :]:
            axes.set_visible(False)
        _legend(figure, charts[0], names)

    return render_svg(PANEL_WIDTH_PX * COLUMNS, PANEL_HEIGHT_PX * rows + 36, draw)


def _draw(axes: Axes, panel: Panel, count: int) -> None:
    points = [item for item in panel.content if isinstance(item, Point)]
    if points:
        _draw_points(axes, points, count)
    for curve in reversed([item for item in panel.content if isinstance(item, Curve)]):
        _draw_curve(axes, curve, count)
    if not points:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        if (
            value_ratio([value for item in panel.content if isinstance(item, Curve) for value in item.values])
            > LOG_SPAN
        ):
            axes.set_yscale("log")
    if panel.x_label:
        axes.set_xlabel(literal(panel.x_label))
    headline(axes, panel.title)


def _draw_curve(axes: Axes, curve: Curve, count: int) -> None:
    stands_out, bold = curve.rank == 0 or count <= len(EXPERIMENT_COLOURS), count <= FINE_ABOVE
    axes.plot(
        curve.epochs,
        curve.values,
        color=_colour_of(curve.rank, count),
        linewidth=2.2 if stands_out else 1.2 if bold else 0.8,
        alpha=1.0 if stands_out else 0.8 if bold else 0.5,
        marker="o" if len(curve.epochs) == 1 else None,
        markersize=4,
        zorder=3 if curve.rank == 0 else 2,
        gid=f"row-{curve.rank}",
    )


def _draw_points(axes: Axes, points: Sequence[Point], count: int) -> None:
    positions = _positions(axes, points)
    size = 6 if count <= FINE_ABOVE else 4
    for point, x in sorted(zip(points, positions, strict=True), key=lambda pair: -pair[0].rank):
        best = point.rank == 0
        style: Any = {"color": _colour_of(point.rank, count), "zorder": 3 if best else 2, "gid": f"row-{point.rank}"}
        axes.plot([x, x], [point.low, point.high], linewidth=1.2, alpha=0.5, **style)
        alpha = 1.0 if best or count <= len(EXPERIMENT_COLOURS) else 0.75
        axes.plot([x], [point.value], marker="o", markersize=size + best, alpha=alpha, **style)


def _positions(axes: Axes, points: Sequence[Point]) -> list[float]:
    """Return positions on the x-axis: numbers at their value, other values side by side and slightly spread."""
    values = [point.x for point in points]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        if value_ratio(numbers) >= WIDE_SPAN:
            axes.set_xscale("log")
        return [float(value) for value in numbers]
    names = list(dict.fromkeys(str(value) for value in values))
    axes.set_xticks(range(len(names)), [short(name, 14) for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)
    last = max(1, max(point.rank for point in points))
    return [names.index(str(point.x)) + SPREAD * (point.rank / last - 0.5) for point in points]


def _colour_of(rank: int, count: int) -> str:
    """Return the colour of an experiment by its rank among ``count``."""
    if rank == 0:
        return BLUE
    return EXPERIMENT_COLOURS[rank] if count <= len(EXPERIMENT_COLOURS) else GREY


def draw_parallel(plot: ParallelPlot, names: Sequence[str]) -> str:
    """Draw experiments as lines across parallel axes; those that were ended early are dashed.

    Args:
        plot: The axes and lines.
        names: The experiments by rank, best first.

    Returns:
        The SVG.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for line in sorted(plot.lines, key=lambda line: -line.rank):
            _draw_line(axes, line, len(names))
        for position, axis in enumerate(plot.axes):
            axes.axvline(position, color=FAINT, linewidth=1, zorder=1)
            for place, label in axis.ticks:
                axes.annotate(
                    short(label, 14),
                    (position, place),
                    xytext=(4, 0),
                    textcoords="offset points",
                    verticalalignment="center",
                    color=INK,
                    fontsize=9,
                    zorder=4,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
                )
        axes.set_xticks(range(len(plot.axes)), [short(axis.name, 24) for axis in plot.axes])
        axes.set_yticks([])
        axes.set_xlim(-0.15, len(plot.axes) - 0.6)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        _legend(figure, axes, names)

    return render_svg(PANEL_WIDTH_PX * COLUMNS, PARALLEL_HEIGHT_PX, draw)


def _draw_line(axes: Axes, line: ParallelLine, count: int) -> None:
    stands_out = line.rank == 0 or count <= len(EXPERIMENT_COLOURS)
    axes.plot(
        range(len(line.places)),
        line.places,
        color=_colour_of(line.rank, count),
        linestyle="--" if line.is_partial else "-",
        linewidth=2.2 if stands_out else 1.2 if count <= FINE_ABOVE else 0.8,
        alpha=1.0 if stands_out else 0.6,
        zorder=3 if line.rank == 0 else 2,
        gid=f"row-{line.rank}",
    )


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    labels = [literal(name) for name in names]
    if len(names) > len(EXPERIMENT_COLOURS):
        labels = [f"best: {labels[0]}", pluralize(len(names) - 1, "other")]
    elif len(names) > 1:
        labels[0] = f"best: {labels[0]}"
    handles = [axes.plot([], [], color=_colour_of(rank, len(names)))[0] for rank in range(len(labels))]
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), labelcolor=FAINT)
