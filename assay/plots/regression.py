"""Plots of predicted numbers: against their targets, and their residuals."""

import numpy as np
from matplotlib.figure import Figure

from assay.metrics.samples import Floats
from assay.plots.colours import BLUE, INK, VERMILLION
from assay.plots.style import headline, literal, render

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
