"""The data of plots that show many experiments, drawn by matplotlib (``assay.plots.comparison``) or by Altair."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

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


def value_ratio(values: Iterable[float]) -> float:
    """Return the ratio of the largest to the smallest finite value; 1 when there is none, or one is not positive."""
    finite = [value for value in values if math.isfinite(value)]
    return max(finite) / min(finite) if finite and min(finite) > 0 else 1.0
