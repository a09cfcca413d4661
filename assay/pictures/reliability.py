"""Picture of whether confidence means what it says."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from assay.plots.style import BLUE, FAINT, INK, VERMILLION, headline, render


def reliability(table: pl.DataFrame, title: str = "Calibration") -> bytes:
    """Draw accuracy over confidence, bin by bin, above how many items each bin holds.

    Args:
        table: Columns confidence_low, confidence_high, count, mean_confidence, accuracy.
        title: Headline.
    """

    def draw(figure: Figure) -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        left = table["confidence_low"].to_numpy()
        width = (table["confidence_high"] - table["confidence_low"]).to_numpy()
        axes.bar(left, table["accuracy"], width=width, align="edge", color=BLUE, edgecolor="white", linewidth=0.8)
        _draw_gaps(axes, table)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1.2, linestyle="--")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        headline(axes, title, "Bars on the dashed line: a confidence of 0.8 is right in 80%. Orange: the gap.")
        below.bar(left, table["count"], width=width, align="edge", color=FAINT, edgecolor="white", linewidth=0.8)
        below.set_xlabel("confidence")
        below.set_ylabel("items")

    return render(620, 560, draw)


def _draw_gaps(axes: Axes, table: pl.DataFrame) -> None:
    for row in table.iter_rows(named=True):
        middle = (row["confidence_low"] + row["confidence_high"]) / 2
        axes.plot(
            [middle, middle],
            [row["accuracy"], row["mean_confidence"]],
            color=VERMILLION,
            linewidth=3,
            solid_capstyle="butt",
        )
