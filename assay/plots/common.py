"""What plots and charts share, whatever draws them: colours, and the data of plots that show many experiments.

Belongs here: what matplotlib (``assay.plots.comparison``) and Altair (``assay.dashboard.charts``) both need; it imports
no drawing library.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

INK = "#1F2933"
FAINT = "#52606D"
GRID = "#E4E7EB"
GREY = "#9AA5B1"
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
"""Colours that colour-blind readers can tell apart (Okabe and Ito, Color Universal Design, 2008)."""

SUBSET_COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}

EXPERIMENT_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)
"""Of the best experiments in a comparison, in this order; further ones are grey."""


def subset_colour(subset: str, all_subsets: Iterable[str]) -> str:
    """Return the colour of a subset, the same in every plot; subsets with names of their own take the spare colours."""
    if subset in SUBSET_COLOURS:
        return SUBSET_COLOURS[subset]
    others = [name for name in all_subsets if name not in SUBSET_COLOURS]
    spare = (PURPLE, VERMILLION, SKY)
    return spare[others.index(subset) % len(spare)]


LOG_SPAN = 30.0
"""Ratio of the largest to the smallest measured value above which an axis is logarithmic."""

WIDE_SPAN = 9.9
"""The same for values that a user chose: learning rates, for example, are chosen by factors."""


@dataclass(frozen=True)
class Curve:
    """One experiment's values over the epochs.

    Attributes:
        rank: Rank of the experiment; 0 is the best.
        epochs: From 1.
        values: One per epoch.
    """

    rank: int
    epochs: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True)
class Point:
    """One experiment's metric at one value of a key.

    Attributes:
        rank: Rank of the experiment; 0 is the best.
        x: Value of the key.
        value: Value of the metric.
        low: Lower end of its interval; the value where there is none.
        high: Upper end of its interval; the value where there is none.
    """

    rank: int
    x: Any
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One plot: a title, the name of the x-axis, and either curves or points."""

    title: str
    x_label: str
    content: Sequence[Curve] | Sequence[Point]


@dataclass(frozen=True)
class ParallelAxis:
    """One of several axes side by side.

    Attributes:
        name: Its title.
        ticks: Place from 0 to 1, and label.
    """

    name: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class ParallelLine:
    """One experiment across all axes.

    Attributes:
        rank: Rank of the experiment; 0 is the best.
        places: Place on each axis, from 0 to 1.
        is_partial: Whether its training was ended early.
    """

    rank: int
    places: Sequence[float]
    is_partial: bool = False


@dataclass(frozen=True)
class ParallelPlot:
    """Experiments as lines across axes: one axis per varied key, the last one for the metric."""

    axes: Sequence[ParallelAxis]
    lines: Sequence[ParallelLine]


def value_ratio(values: Iterable[float]) -> float:
    """Return the ratio of the largest to the smallest finite value; 1 when there is none, or one is not positive."""
    finite = [value for value in values if math.isfinite(value)]
    return max(finite) / min(finite) if finite and min(finite) > 0 else 1.0
