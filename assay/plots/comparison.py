"""Pictures of many experiments at once, as SVG: their curves, and their metric against what was varied.

Every line and dot carries the ID ``row-<place>``, so that a page can connect it with a row of its table.

Belongs here: drawing. Does not belong here: which experiments, metrics and keys are drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from assay.plots.style import BLUE, FAINT, GREEN, ORANGE, PURPLE, SKY, VERMILLION, headline, literal, render_svg, short

GREY = "#9AA5B1"
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)
PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 380, 300
COLUMNS = 3
CROWD = 30
"""More experiments than this are drawn finer."""
APART = 0.5
"""Width over which experiments with the same text are spread, in distances between two texts."""
LOG_SPAN = 30.0
"""Ratio of the largest to the smallest measured value from which on a logarithmic axis shows more."""
WIDE_SPAN = 9.9
"""The same for values that somebody chose: learning rates are chosen by factors."""


@dataclass(frozen=True)
class Curve:
    """One experiment's values over the epochs."""

    place: int
    epochs: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Point:
    """One experiment's metric at one value of a key; without an interval, low and high are the value."""

    place: int
    x: Any
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One chart: a title, name of the x-axis, and curves or points; place 0 is the best experiment."""

    title: str
    x_label: str
    content: Sequence[Curve] | Sequence[Point]


def compared(panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Draw panels side by side: with few experiments, a colour for each; with many, the best before grey others.

    Args:
        panels: At least one.
        names: The experiments, best first.
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
        if _span([value for item in panel.content if isinstance(item, Curve) for value in item.values]) > LOG_SPAN:
            axes.set_yscale("log")
    if panel.x_label:
        axes.set_xlabel(literal(panel.x_label))
    headline(axes, panel.title)


def _draw_curve(axes: Axes, curve: Curve, count: int) -> None:
    stands_out, few = curve.place == 0 or count <= len(COLOURS), count <= CROWD
    axes.plot(
        curve.epochs,
        curve.values,
        color=colour_of(curve.place, count),
        linewidth=2.2 if stands_out else 1.2 if few else 0.8,
        alpha=1.0 if stands_out else 0.8 if few else 0.5,
        marker="o" if len(curve.epochs) == 1 else None,
        markersize=4,
        zorder=3 if curve.place == 0 else 2,
        gid=f"row-{curve.place}",
    )


def _draw_points(axes: Axes, points: Sequence[Point], count: int) -> None:
    places = _positions(axes, points)
    size = 6 if count <= CROWD else 4
    for point, x in sorted(zip(points, places, strict=True), key=lambda pair: -pair[0].place):
        best = point.place == 0
        style: Any = {"color": colour_of(point.place, count), "zorder": 3 if best else 2, "gid": f"row-{point.place}"}
        axes.plot([x, x], [point.low, point.high], linewidth=1.2, alpha=0.5, **style)
        alpha = 1.0 if best or count <= len(COLOURS) else 0.75
        axes.plot([x], [point.value], marker="o", markersize=size + best, alpha=alpha, **style)


def _positions(axes: Axes, points: Sequence[Point]) -> list[float]:
    """Return where values stand on the x-axis: numbers at their place, everything else side by side, slightly apart."""
    values = [point.x for point in points]
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        if _span(numbers) >= WIDE_SPAN:
            axes.set_xscale("log")
        return [float(value) for value in numbers]
    names = list(dict.fromkeys(str(value) for value in values))
    axes.set_xticks(range(len(names)), [short(name, 14) for name in names])
    axes.set_xlim(-0.6, len(names) - 0.4)
    most = max(1, max(point.place for point in points))
    return [names.index(str(point.x)) + APART * (point.place / most - 0.5) for point in points]


def colour_of(place: int, count: int) -> str:
    """Return the colour of the experiment at a place among so many."""
    if place == 0:
        return BLUE
    return COLOURS[place] if count <= len(COLOURS) else GREY


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    labels = [literal(name) for name in names]
    if len(names) > len(COLOURS):
        labels = [f"best: {labels[0]}", f"{len(names) - 1} others"]
    elif len(names) > 1:
        labels[0] = f"best: {labels[0]}"
    handles = [axes.plot([], [], color=colour_of(place, len(names)))[0] for place in range(len(labels))]
    figure.legend(handles, labels, loc="outside lower left", ncols=len(labels), labelcolor=FAINT)


def _span(values: Sequence[float]) -> float:
    """Return the ratio of the largest to the smallest value; 1 when there is none or it would not be positive."""
    finite = [value for value in values if math.isfinite(value)]
    return max(finite) / min(finite) if finite and min(finite) > 0 else 1.0
