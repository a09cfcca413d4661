"""Intervals of a difference: how much higher a metric is for the second of two models of the same items.

The same items are drawn for both, so that what is hard for both does not blur the difference. Items on which the models
agree say nothing about it, so *too few items* depends on those on which they do not.

Belongs here: what becomes of each metric's rule for a difference. Does not belong here: the rules of a single model
(``assay.metrics.intervals``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from assay.metrics.intervals import (
    BLOCK_ELEMENTS,
    LEAST_SQUARES,
    NONE,
    Ends,
    Items,
    Measured,
    OfDeviations,
    OfMean,
    OfShare,
    OfSquares,
    Percentiles,
    Rule,
    intervals,
)
from assay.metrics.samples import Floats, Integers, Sample

LEAST_PAIRED = 40
"""Fewest groups for the interval of a difference: of two equally good models, one would be called better in 18 of 100
cases with 5 items and in half of them with 2, instead of in 5."""

LEAST_APART = 20
"""Fewest groups with items that two models predict differently, where the difference rests on these alone."""


def paired_intervals(
    metrics: Mapping[str, Measured],
    samples: tuple[Sample, Sample],
    groups: Integers,
    rng: np.random.Generator,
    *,
    resamples: int,
    confidence: float,
    block_elements: int = BLOCK_ELEMENTS,
) -> dict[str, Ends]:
    """Return the interval of how much higher each metric is for the second of two models of the same items.

    Args:
        metrics: By name.
        samples: The same items, in the same order, as each model predicts them.
        groups: (n,) index of the group, 0 to g-1, of each item.
        rng: Source of the draws.
        resamples: Number of draws, at least 1.
        confidence: Probability covered by an interval, 0 to 1.
        block_elements: Weights, or cells, in memory at once.

    Returns:
        Lower and upper end per metric; NaN with fewer than ``LEAST_PAIRED`` groups, where a metric is not defined, and
        where the items are too few for it.
    """
    pair = _Paired(*samples, weights=np.ones((1, len(groups))))
    if Items(pair, groups).group_count < LEAST_PAIRED:
        return dict.fromkeys(metrics, NONE)
    differences = {name: _Difference(metric) for name, metric in metrics.items()}
    return intervals(
        differences, pair, groups, rng, resamples=resamples, confidence=confidence, block_elements=block_elements
    )


@dataclass(frozen=True)
class _Paired:
    """The same items, in the same order, as each of two models predicts them.

    Attributes:
        first: Sample of the one.
        second: Sample of the other.
        weights: (b, n) how often each item counts, in each of b weightings.
    """

    first: Any
    second: Any
    weights: Floats

    @cached_property
    def sides(self) -> tuple[Any, Any]:
        """Both samples with these weights."""
        return replace(self.first, weights=self.weights), replace(self.second, weights=self.weights)

    @property
    def cells(self) -> int:
        return int(self.first.cells)

    @property
    def class_counts(self) -> list[int]:
        return list(self.first.class_counts)

    @property
    def apart(self) -> Floats:
        """Which items the models predict differently, (n,) of 0 and 1; all, where predictions are no classes."""
        first, second = (getattr(sample, "predicted", None) for sample in (self.first, self.second))
        if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray):
            return np.ones(self.weights.shape[1])
        differ = first != second
        return np.asarray(differ.any(axis=1) if differ.ndim > 1 else differ, np.float64)


@dataclass(frozen=True)
class _Difference:
    """How much higher a metric is for the second of two models, as a metric of both."""

    metric: Measured

    @property
    def compute(self) -> Callable[[Any], Floats]:
        def difference(pair: _Paired) -> Floats:
            first, second = pair.sides
            return self.metric.compute(second) - self.metric.compute(first)

        return difference

    @property
    def interval(self) -> Rule:
        rule = self.metric.interval
        match rule:
            case OfShare():
                return _OfShares(rule.hits)
            case OfMean():
                terms = rule.terms
                return replace(rule, terms=lambda pair: terms(pair.second) - terms(pair.first), floor=-np.inf)
            case OfSquares():
                return _OfSquares(rule)
            case OfDeviations():
                return _Never()
        return rule


@dataclass(frozen=True)
class _OfShares(Percentiles):
    """Bias-corrected percentiles where enough items tell the models apart: most draws hold none of a few.

    A difference of plain shares has an interval with any number of them (Bonett and Price, "Adjusted Wald Confidence
    Interval for a Difference of Binomial Proportions Based on Paired Data", J. of Educational and Behavioral Statistics
    37, 2012).

    Attributes:
        hits: Which items are right, (n,) of 0 and 1, where the metric is their share.
    """

    hits: Callable[[Any], Floats] | None

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, or none."""
        from scipy.special import ndtri

        if self.hits is None or items.are_grouped:
            few = (items.sums(items.sample.apart) > 0).sum() < LEAST_APART
            if few or np.ndim(value):  # each class has few of its own
                return np.full_like(value, np.nan), np.full_like(value, np.nan)
            return super().ends(statistics, value, items, confidence)
        gains = self.hits(items.sample.second) - self.hits(items.sample.first)
        count = len(gains) + 2
        won, lost = ((gains > 0).sum() + 1) / count, ((gains < 0).sum() + 1) / count
        half = ndtri((1 + confidence) / 2) * np.sqrt((won + lost - (won - lost) ** 2) / count)
        return np.asarray(max(won - lost - half, -1.0)), np.asarray(min(won - lost + half, 1.0))


@dataclass(frozen=True)
class _OfSquares(Percentiles):
    """Bias-corrected percentiles where the tails of both models' errors are light.

    Attributes:
        single: The rule of one model.
    """

    single: OfSquares

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, or none."""
        both = (Items(sample, items.groups) for sample in (items.sample.first, items.sample.second))
        if items.group_count < LEAST_SQUARES or not all(self.single.has_light_tails(each) for each in both):
            return NONE
        return super().ends(statistics, value, items, confidence)


class _Never(Percentiles):
    """No interval: the difference of two distances from 0 has no usual shape."""

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        return NONE
