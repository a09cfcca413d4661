"""Percentile bootstrap: how much a metric varies with the items that happen to be in the sample.

Efron, "Bootstrap Methods: Another Look at the Jackknife" (Annals of Statistics 7, 1979); whole groups are drawn where
items of one group resemble each other (Field and Welsh, J. Royal Statistical Society B 69, 2007).

Belongs here: drawing weights and taking percentiles. Does not belong here: metrics.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from assay.metrics.samples import Floats, Integers, Sample

BLOCK_ELEMENTS = 2_000_000
"""Weights, or cells of confusion matrices, in memory at once (16 MB), whatever the number of items."""


def intervals(
    metrics: Mapping[str, Callable[[Any], Floats]],
    sample: Sample,
    groups: Integers,
    rng: np.random.Generator,
    *,
    resamples: int,
    confidence: float,
    block_elements: int = BLOCK_ELEMENTS,
) -> dict[str, tuple[Floats, Floats]]:
    """Return lower and upper end of each metric's interval.

    The interval of a perfect score is a point, as no resample can contain a mistake that the sample lacks.

    Args:
        metrics: Functions of a sample, by name.
        sample: The items; its weights are not read.
        groups: (n,) index of the group, 0 to g-1, of each item; the items of a group are drawn together.
        rng: Source of the draws.
        resamples: Number of resamples.
        confidence: Probability covered by an interval, 0 to 1.
        block_elements: Weights, or cells, in memory at once.

    Returns:
        Two arrays per metric, of the shape of one value: () or (k,). NaN where a metric is not defined, where there are
        fewer than two groups, or when ``resamples`` is 0.
    """
    blocks: dict[str, list[Floats]] = {name: [] for name in metrics}
    block_rows = max(1, block_elements // max(len(groups), sample.cells))
    for weights in _resampled_weights(groups, rng, resamples, block_rows):
        resampled = replace(sample, weights=weights)
        for name, metric in metrics.items():
            blocks[name].append(metric(resampled))
    shares = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {name: _percentiles(values, shares) for name, values in blocks.items()}


def _resampled_weights(groups: Integers, rng: np.random.Generator, resamples: int, rows: int) -> Iterator[Floats]:
    """Yield blocks (b, n) of how often each item is drawn."""
    group_count = int(groups.max()) + 1
    if group_count < 2:
        return
    one_to_one = np.array_equal(groups, np.arange(group_count))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = rng.integers(0, group_count, (size, group_count))
        drawn += np.arange(size)[:, None] * group_count
        counts = np.bincount(drawn.ravel(), minlength=size * group_count).reshape(size, group_count)
        yield (counts if one_to_one else counts[:, groups]).astype(np.float64)


def _percentiles(blocks: list[Floats], shares: list[float]) -> tuple[Floats, Floats]:
    if not blocks:
        return np.array(np.nan), np.array(np.nan)
    values = np.concatenate(blocks)
    # nanquantile would warn about metrics that are defined in no resample: the recall of a class that never occurs.
    defined = np.any(~np.isnan(values), axis=0)
    low, high = np.nanquantile(np.where(defined, values, 0.0), shares, axis=0)
    return np.where(defined, low, np.nan), np.where(defined, high, np.nan)
