"""Picture of precision against recall, one curve per class."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.pictures.grid import class_color
from assay.pictures.style import FAINT, INK, headline, literal, render, short

MOST_COLOURS = 12
"""Curves that get a colour and a name; of more classes the worst, the others are grey."""
GREY = "#C3CAD2"


def precision_recall(curves: pl.DataFrame, confidence: float, title: str) -> bytes:
    """Draw the curve of each class, and of all together; a dot marks what a chosen confidence gives.

    Args:
        curves: Columns class, confidence (descending), precision, recall and f1; the class of all together is empty.
        confidence: The chosen one.
        title: Headline.
    """
    best = curves.filter(pl.col("class") != "").group_by("class").agg(pl.max("f1")).sort("f1", "class")
    named = sorted(best["class"].head(MOST_COLOURS).to_list(), key=_natural)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for name in best["class"].tail(max(0, len(best) - MOST_COLOURS)):
            _draw_curve(axes, curves, name, GREY, 1.2, None, "")
        for place, name in enumerate(named):
            colour = tuple(0.85 * channel / 255 for channel in class_color(place))
            _draw_curve(axes, curves, name, colour, 1.6, confidence, short(name))
        _draw_curve(axes, curves, "", INK, 2.8, confidence, "all together")
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
        axes.set_xlabel("recall: share of the objects that are found")
        axes.set_ylabel("precision: share of the boxes that are right")
        figure.legend(loc="outside right upper", title="F1 at the dot", labelcolor=FAINT)
        others = f" Grey: {len(best) - len(named)} better classes." * (len(best) > len(named))
        headline(axes, title, f"Overlap of at least 0.5. Dots: boxes with confidence {confidence:.2f} or more.{others}")

    return render(760, 520, draw)


def _draw_curve(
    axes: Axes,
    curves: pl.DataFrame,
    name: str,
    colour: str | tuple[float, ...],
    width: float,
    confidence: float | None,
    label: str,
) -> None:
    curve = curves.filter(pl.col("class") == name)
    axes.plot(curve["recall"], curve["precision"], color=colour, linewidth=width, solid_joinstyle="round")
    if confidence is None:
        return
    chosen = curve.filter(pl.col("confidence") >= confidence).tail(1)
    f1 = f"{chosen['f1'][0]:.2f}" if len(chosen) else "–"
    axes.plot(chosen["recall"], chosen["precision"], "o", color=colour, markersize=6, markeredgecolor="white", zorder=3)
    axes.plot([], [], color=colour, linewidth=width, label=literal(f"{label}  {f1}"))


def _natural(name: str) -> tuple[float, str]:
    return (float(name) if name.isdigit() else np.inf, name)
