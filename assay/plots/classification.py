"""Picture of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from assay.plots.style import BLUE, INK, VERMILLION, headline, render, short

MOST_NUMBERS = 20
"""Classes up to which the counts are written into the cells."""
MOST_NAMES = 60
"""Classes up to which each has its name beside the axes; beyond, every other, third, …"""

RIGHT = LinearSegmentedColormap.from_list("right", ["#FFFFFF", "#A9CFE6", BLUE])
WRONG = LinearSegmentedColormap.from_list("wrong", ["#FFFFFF", "#F6C9A8", VERMILLION])


def confusion_matrix(
    matrix: NDArray[np.int64], names: Sequence[str], title: str = "Confusion matrix", *, as_shares: bool = False
) -> bytes:
    """Draw how often each true class was predicted as each class.

    Right answers and mistakes have colours of their own, shaded by their share of the row: with one colour a good
    model's mistakes could not be seen.

    Args:
        matrix: (k, k) counts; rows are true classes.
        names: The k classes.
        title: Headline.
        as_shares: Write percentages of the row instead of counts, which are long for pixels.
    """
    count = len(names)
    side = int(np.clip(300 + 40 * count, 480, 800))
    sums = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, sums, out=np.zeros(matrix.shape), where=sums > 0)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.imshow(_colours(shares), interpolation="nearest")
        _name_classes(axes, names)
        if count <= MOST_NUMBERS:
            _write_cells(axes, _percentages(shares) if as_shares else matrix.astype(str), shares)
        headline(
            axes, title, "Blue: right. Orange: mistakes. Shade: share of the row." + " Numbers: per cent." * as_shares
        )

    return render(side + 40, side, draw)


def _colours(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (k, k, 3) colours; mistakes are shaded by the cube root of their share, so that rare ones can be seen."""
    right, wrong = RIGHT(shares)[..., :3], WRONG(np.cbrt(shares))[..., :3]
    on_diagonal = np.eye(len(shares), dtype=bool)[..., None]
    colours: NDArray[np.float64] = np.where(on_diagonal, right, wrong)
    return colours


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    count = len(names)
    ticks = range(0, count, -(-count // MOST_NAMES))
    labels = [short(names[tick]) for tick in ticks]
    size = float(np.clip(300 / len(ticks), 6.5, 11))
    crowded = max(map(len, labels)) * size * len(ticks) > 650
    axes.set_xticks(ticks, labels, rotation=90 if crowded else 0, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)


def _percentages(shares: NDArray[np.float64]) -> NDArray[np.str_]:
    """Return shares as whole percentages; those that round to 0 are left empty."""
    return np.where(shares >= 0.005, np.char.mod("%.0f", 100 * shares), "")


def _write_cells(axes: Axes, texts: NDArray[np.str_], shares: NDArray[np.float64]) -> None:
    size = float(np.clip(130 / len(texts), 8, 15))
    for row, column in np.argwhere(shares > 0):
        dark = shares[row, column] > (0.6 if row == column else 0.35)
        colour = "white" if dark else INK
        axes.text(column, row, str(texts[row, column]), ha="center", va="center", color=colour, fontsize=size)
