"""Picture of what another threshold would change: precision against recall, and F1 over the threshold."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILLION, headline, render, short

COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE)
"""Of the classes with the lowest best F1; the others are grey."""
OTHERS = "#B8C2CC"
TOGETHER = "all together"


def draw_threshold_curves(curves: pl.DataFrame, title: str, chosen: float | None = None) -> bytes:
    """Draw two panels with a curve for each class; the classes that no threshold makes good are in colour.

    Args:
        curves: Columns class, threshold, precision, recall, f1, of one subset; nulls are left out. A class without a
            name stands for all together, and is black.
        title: Headline.
        chosen: The threshold in use, marked by a line.
    """
    together, curves = curves.filter(pl.col("class") == ""), curves.filter(pl.col("class") != "")
    best = curves.group_by("class", maintain_order=True).agg(pl.col("f1").max()).sort("f1", "class", nulls_last=True)
    colours = dict(zip(best["class"], COLOURS, strict=False))
    ordered = [*best["class"].to_list()[len(COLOURS) :], *reversed(colours)]

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for name in ordered:
            rows = curves.filter(pl.col("class") == name)
            colour, label = colours.get(name, OTHERS), short(name) if name in colours else None
            _draw(left, rows, "recall", "precision", colour, label)
            _draw(right, rows, "threshold", "f1", colour, None)
        if len(together):
            _draw(left, together, "recall", "precision", INK, TOGETHER)
            _draw(right, together, "threshold", "f1", INK, None)
        if chosen is not None:
            right.axvline(chosen, color=INK, linewidth=1, linestyle="--")
        headline(left, title, "In colour: the classes with the lowest best F1.")
        headline(right, "F1 at each threshold", f"Dashed: {chosen:.2f}, in use." if chosen is not None else "")
        left.set(xlabel="recall", ylabel="precision")
        right.set(xlabel="threshold", ylabel="F1")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=len(labels))

    return render(840, 420, draw)


def _draw(axes: Axes, rows: pl.DataFrame, across: str, up: str, colour: str, label: str | None) -> None:
    shown = rows.select(across, up).drop_nulls()
    width = 1.2 if colour == OTHERS else 2
    axes.plot(shown[across], shown[up], color=colour, linewidth=width, label=label)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
