"""Confidence intervals: within which values a metric of endless items would be, told by the items there are.

Everything rests on one bootstrap (Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7,
1979) that draws whole groups where items of one group resemble each other (Field and Welsh, J. Royal Statistical
Society B 69, 2007). Its plain percentiles hold the truth far too rarely just where it matters: few items, hardly any
mistake, errors with heavy tails. So each kind of metric has its own rule, and no interval where no rule is right in 93
to 97 of 100 cases: *too few items* is NaN here. ``tests/campaigns/coverage.py`` measures it.

Belongs here: drawing weights, and the rules. Does not belong here: metrics, differences of two models
(``assay.metrics.paired``).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from assay.metrics.samples import Floats, Integers, Sample

BLOCK_ELEMENTS = 2_000_000
"""Weights, or cells of confusion matrices, in memory at once (16 MB), whatever the number of items."""

Compute = Callable[[Any], Floats]
"""A function of a sample with b weightings, that returns values (b,) or (b, k)."""
Ends = tuple[Floats, Floats]
"""Lower and upper end, each of the shape of one value; NaN where there is no interval."""


@dataclass(frozen=True)
class Items:
    """What was measured.

    Attributes:
        sample: Every item with weight 1.
        groups: (n,) index of the group, 0 to g-1, of each item.
    """

    sample: Any
    groups: Integers

    @property
    def group_count(self) -> int:
        """Number g of groups."""
        return int(self.groups.max()) + 1

    @property
    def are_grouped(self) -> bool:
        """Whether some group has several items."""
        return self.group_count < len(self.groups)

    def sums(self, values: Floats) -> Floats:
        """Return the sum of values (n,) over each group: (g,)."""
        sums: Floats = np.bincount(self.groups, values, self.group_count).astype(np.float64)
        return sums


@dataclass(frozen=True)
class Draws:
    """Items drawn at random, with replacement.

    Attributes:
        items: What is drawn from.
        counts: (b, g) how often each group was drawn.
    """

    items: Items
    counts: Floats

    @cached_property
    def sample(self) -> Any:
        """The sample, weighted by how often each item was drawn."""
        weights = self.counts[:, self.items.groups] if self.items.are_grouped else self.counts
        return replace(self.items.sample, weights=weights)


class Rule(Protocol):
    """How the interval of a metric is found."""

    def statistics(self, compute: Compute, draws: Draws) -> Floats:
        """Return what is kept of each draw: (b,) or (b, k)."""

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval.

        Args:
            statistics: (r,) or (r, k) of all draws; NaN where the metric is not defined in one.
            value: () or (k,) of the items themselves.
            items: What was measured.
            confidence: Probability covered, 0 to 1.
        """


class _OfValues:
    """A rule that keeps the metric's value in each draw."""

    def statistics(self, compute: Compute, draws: Draws) -> Floats:
        return compute(draws.sample)


@dataclass(frozen=True)
class Percentiles(_OfValues):
    """Bias-corrected percentiles, for metrics of which nothing is known (Efron, JASA 82, 1987; no acceleration)."""

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return percentiles of the draws, moved by how far their median is from the value."""
        from scipy.special import ndtr, ndtri

        known = ~np.isnan(statistics)
        defined = known.any(axis=0) & ~np.isnan(value)
        total = np.maximum(known.sum(axis=0), 1)
        below = ((statistics < value).sum(axis=0) + (statistics == value).sum(axis=0) / 2) / total
        shift = 2 * ndtri(np.clip(below, 0.5 / total, 1 - 0.5 / total))
        tail = ndtri((1 + confidence) / 2)
        filled = np.where(known | ~defined, np.nan_to_num(statistics), np.inf)
        ordered = np.sort(filled, axis=0)  # draws in which it is not defined come last
        low, high = (_at(ordered, ndtr(shift + side * tail), total) for side in (-1, 1))
        return np.where(defined, low, np.nan), np.where(defined, high, np.nan)


def _at(ordered: Floats, share: Floats, count: Integers) -> Floats:
    """Return the value below which a share of the first ``count`` ordered values is: (r, ...) -> (...)."""
    place = np.clip(np.ceil(share * count) - 1, 0, count - 1).astype(np.int64)
    value: Floats = np.take_along_axis(ordered, place[None], axis=0)[0]
    return value


OF_ANYTHING = Percentiles()
"""The rule of metrics of which nothing is known."""


@dataclass(frozen=True)
class OfShare(_OfValues):
    """The score interval of a share, or of a mean of shares, from 0 to 1 (Wilson, JASA 22, 1927).

    Its number of trials is that of which a plain share would vary as the metric varies among the draws (Korn and
    Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts", Survey Methodology
    24, 1998). So it holds for F1, areas under curves and IoU, and for items that come in groups.

    Attributes:
        trials: Number of trials, () or (k,), of a metric that is exactly 0 or 1, where no draw varies; None: the
            number of items.
        least_per_class: Fewest items that the classes may have on average: with fewer, a mean over the classes varies
            more than the draws show.
        hits: Which items are right, (n,) of 0 and 1, where the metric is their share.
    """

    trials: Callable[[Any], Floats] | None = None
    least_per_class: int = 0
    hits: Callable[[Any], Floats] | None = None

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, which is never a point."""
        from scipy.special import stdtrit

        groups, count = items.group_count, len(items.groups)
        variance = _variance(statistics)
        certain = np.asarray(count if self.trials is None else self.trials(items.sample), float) * groups / count
        degrees = 1e9
        if items.are_grouped:
            variance, degrees = variance * groups / (groups - 1), groups - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            trials = np.where(variance > 0, value * (1 - value) / variance, certain)
            trials = np.where((value <= 0) | (value >= 1), certain, trials)
            square = stdtrit(degrees, (1 + confidence) / 2) ** 2
            middle = (value + square / (2 * trials)) / (1 + square / trials)
            spread = value * (1 - value) / trials + square / (4 * trials**2)
            half = np.sqrt(square * spread) / (1 + square / trials)
        occurring = [each for each in items.sample.class_counts if each]
        few = bool(occurring) and sum(occurring) < self.least_per_class * len(occurring)
        missing = np.isnan(value) | ~(trials > 0) | few
        low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
        return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


@dataclass(frozen=True)
class OfMean:
    """The studentized bootstrap of a mean over the items (Hall, "The Bootstrap and Edgeworth Expansion", 1992).

    Attributes:
        terms: What it is the mean of: (n,).
        least: Fewest groups; with fewer, an error that comes once in 20 items may be in none.
        largest_share: Share of the variance that one item may have; beyond it, rare large terms decide the mean, and
            how rare they are can't be told.
        floor: Least possible mean of terms that are never negative, at which the interval is cut.
    """

    terms: Callable[[Any], Floats]
    least: int = 40
    largest_share: float = 1.0
    floor: float = 0.0

    def statistics(self, compute: Compute, draws: Draws) -> Floats:
        """Return how many standard errors the mean of each draw is above the mean of the items: (b,)."""
        mean, sums, sizes = self._of(draws.items)
        drawn = draws.counts @ sizes
        means = draws.counts @ sums / drawn
        squares = draws.counts @ sums**2 - 2 * means * (draws.counts @ (sums * sizes))
        squares += means**2 * (draws.counts @ sizes**2)
        errors = np.sqrt(np.maximum(squares, 0.0)) / drawn
        statistics: Floats = np.divide(means - mean, errors, out=np.full(len(means), np.nan), where=errors > 0)
        return statistics

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, cut at the floor for terms that are never negative."""
        mean, sums, sizes = self._of(items)
        squares = (sums - mean * sizes) ** 2
        known = statistics[~np.isnan(statistics)]
        groups = items.group_count
        if groups < self.least or len(known) < len(statistics) / 2 or not squares.any():
            return NONE
        if squares.max() > self.largest_share * squares.sum():
            return NONE
        error = np.sqrt(squares.sum() * groups / (groups - 1)) / sizes.sum()
        upper, lower = np.quantile(known, [(1 + confidence) / 2, (1 - confidence) / 2]) * np.sqrt((groups - 1) / groups)
        low, high = mean - upper * error, mean - lower * error
        return np.asarray(max(low, self.floor) if sums.min() >= 0 else low), np.asarray(high)

    def _of(self, items: Items) -> tuple[float, Floats, Floats]:
        """Return the mean, and the sum of the terms and the number of items of each group."""
        sums, sizes = items.sums(self.terms(items.sample)), items.sums(np.ones(len(items.groups)))
        return float(sums.sum() / sizes.sum()), sums, sizes


LEAST_SQUARES = 200
"""Fewest groups for the interval of a mean of squares: with fewer, heavy tails look like light ones."""
LEAST_SHARE = 0.03
"""Share of the variance that one item may have whatever the tails look like."""


@dataclass(frozen=True)
class OfSquares(_OfValues):
    """The interval of a mean of squares, on a logarithmic scale, where the tails of what is squared are light.

    Few large errors make up such a mean when they are heavy, and most samples lack them, so that no method tells how
    far off it is. The tails are light where the kurtosis is that of normal numbers, as far as so many items tell.

    Attributes:
        squared: What is squared: one or several (n,).
        best: Value without any error; the interval is that of the logarithm of the distance to it.
    """

    squared: Callable[[Any], tuple[Floats, ...]]
    best: float = 0.0

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, or none."""
        from scipy.special import ndtri

        groups = items.group_count
        distance = abs(float(value) - self.best)
        if groups < LEAST_SQUARES or not distance > 0 or not self.has_light_tails(items):
            return NONE
        logarithms = np.log(np.maximum(np.abs(statistics - self.best), np.finfo(float).tiny))
        half = ndtri((1 + confidence) / 2) * np.sqrt(_variance(logarithms) * groups / (groups - 1))
        ends = [distance * np.exp(side * half) for side in (-1, 1)]
        if value < self.best:
            ends = [self.best - each for each in reversed(ends)]
        return np.asarray(ends[0]), np.asarray(ends[1])

    def has_light_tails(self, items: Items) -> bool:
        """Return whether the squares have the kurtosis of those of normal numbers, as far as so many items tell."""
        limit = 3 + 10 / np.sqrt(items.group_count)
        for values in self.squared(items.sample):
            squares = values**2
            kurtosis = (squares**2).mean() / max(squares.mean() ** 2, np.finfo(float).tiny)
            deviations = (squares - squares.mean()) ** 2
            if kurtosis > limit and deviations.max() > LEAST_SHARE * deviations.sum():
                return False
        return True


LEAST_CALIBRATED = 1000
"""Fewest groups for the interval of a calibration error."""
CLEARLY = 5.0
"""Standard errors that a calibration error must be above 0: nearer to it, its distribution has no usual shape."""


@dataclass(frozen=True)
class OfDeviations:
    """The normal interval of a sum of absolute deviations, once it is clearly above 0.

    Attributes:
        terms: What the metric is the mean of, apart from a correction: (n,).
    """

    terms: Callable[[Any], Floats]

    def statistics(self, compute: Compute, draws: Draws) -> Floats:
        """Return nothing: the standard error is known without draws."""
        return np.zeros(len(draws.counts))

    def ends(self, statistics: Floats, value: Floats, items: Items, confidence: float) -> Ends:
        """Return the interval, or none."""
        from scipy.special import ndtri

        terms = self.terms(items.sample)
        squares = items.sums(terms - terms.mean()) ** 2
        error = np.sqrt(squares.sum()) / len(terms)
        if items.group_count < LEAST_CALIBRATED or not value > CLEARLY * error:
            return NONE
        half = ndtri((1 + confidence) / 2) * error
        return np.asarray(max(float(value) - half, 0.0)), np.asarray(float(value) + half)


NONE: Ends = (np.array(np.nan), np.array(np.nan))


def _variance(statistics: Floats) -> Floats:
    """Return the variance over the draws in which the metric is defined; NaN where there is none: (r, ...) -> (...)."""
    known = ~np.isnan(statistics)
    count = known.sum(axis=0)
    mean = np.where(known, statistics, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (statistics - mean) ** 2, 0.0).sum(axis=0)
    variance: Floats = np.divide(squares, count - 1.0, out=np.full(np.shape(squares), np.nan), where=count > 1)
    return variance


class Measured(Protocol):
    """A metric, as far as its interval needs it."""

    @property
    def compute(self) -> Compute:
        """Return the function of a sample."""

    @property
    def interval(self) -> Rule:
        """Return how its interval is found."""


def intervals(
    metrics: Mapping[str, Measured],
    sample: Sample,
    groups: Integers,
    rng: np.random.Generator,
    *,
    resamples: int,
    confidence: float,
    block_elements: int = BLOCK_ELEMENTS,
) -> dict[str, Ends]:
    """Return lower and upper end of each metric's interval.

    Args:
        metrics: By name.
        sample: The items, each with weight 1.
        groups: (n,) index of the group, 0 to g-1, of each item; the items of a group are drawn together.
        rng: Source of the draws.
        resamples: Number of draws.
        confidence: Probability covered by an interval, 0 to 1.
        block_elements: Weights, or cells, in memory at once.

    Returns:
        Two arrays per metric, of the shape of one value: () or (k,). NaN where a metric is not defined, where the items
        are too few to tell, or when ``resamples`` is 0.
    """
    items = Items(sample, groups)
    if items.group_count < 2 or resamples == 0:
        return dict.fromkeys(metrics, NONE)
    kept: dict[str, list[Floats]] = {name: [] for name in metrics}
    for counts in _drawn(items.group_count, rng, resamples, max(1, block_elements // max(len(groups), sample.cells))):
        draws = Draws(items, counts)
        for name, metric in metrics.items():
            kept[name].append(metric.interval.statistics(metric.compute, draws))
    return {
        name: metric.interval.ends(np.concatenate(kept[name]), metric.compute(sample)[0], items, confidence)
        for name, metric in metrics.items()
    }


def _drawn(group_count: int, rng: np.random.Generator, resamples: int, rows: int) -> Iterator[Floats]:
    """Yield blocks (b, g) of how often each group is drawn."""
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, group_count, (size, group_count))
        drawn += np.arange(size)[:, None] * group_count
        counts = np.bincount(drawn.ravel(), minlength=size * group_count).reshape(size, group_count)
        yield counts.astype(np.float64)
