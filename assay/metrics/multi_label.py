"""Metrics of several labels at once.

Belongs here: one function per metric, from a sample with b weightings to b values, or b x k for each class. Does not
belong here: metrics of rankings and scores (``multi_label_scores``), intervals.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.metrics.samples import Booleans, Floats, MultiLabelSample, divide, mean_of_defined


def macro_f1(sample: MultiLabelSample) -> Floats:
    """Return the mean F1 over the classes that occur or are predicted."""
    return mean_of_defined(f1(sample))


def micro_f1(sample: MultiLabelSample) -> Floats:
    """Return the F1 of all pairs of item and class together; NaN when no class occurs or is predicted."""
    occurring_or_predicted = sample.total(sample.target) + sample.total(sample.predicted)
    return divide(2 * sample.total(_hits(sample)).sum(axis=1), occurring_or_predicted.sum(axis=1))


def exact_match(sample: MultiLabelSample) -> Floats:
    """Return the share of items all of whose classes are right."""
    return sample.mean(np.all(sample.target == sample.predicted, axis=1).astype(np.float64))


def hamming_loss(sample: MultiLabelSample) -> Floats:
    """Return the share of pairs of item and class that are wrong."""
    return sample.mean((sample.target != sample.predicted).mean(axis=1))


def precision(sample: MultiLabelSample) -> Floats:
    """Return, per class, the share of its predictions that are right; NaN when it is never predicted: (b, k)."""
    return divide(sample.total(_hits(sample)), sample.total(sample.predicted))


def recall(sample: MultiLabelSample) -> Floats:
    """Return, per class, the share of its items that are found; NaN when it does not occur: (b, k)."""
    return divide(sample.total(_hits(sample)), sample.total(sample.target))


def f1(sample: MultiLabelSample) -> Floats:
    """Return, per class, the harmonic mean of precision and recall; NaN when it neither occurs nor is predicted."""
    return divide(2 * sample.total(_hits(sample)), sample.total(sample.target) + sample.total(sample.predicted))


def _hits(sample: MultiLabelSample) -> Booleans:
    return sample.target & sample.predicted


def ranking_average_precision(sample: MultiLabelSample) -> Floats:
    """Return the mean, over an item's classes, of the share of its classes among all that are ranked as high.

    1 when every class of every item is more probable than those that it does not have. Ties count as ranked as high; an
    item with no class, or with all, counts 1: no order could be wrong. Tsoumakas, Katakis and Vlahavas, "Mining
    Multi-label Data" (Data Mining and Knowledge Discovery Handbook, 2010), section 7.3.
    """
    shares = np.zeros(sample.target.shape)
    for place in range(sample.class_count):
        as_high = sample.probabilities >= sample.probabilities[:, place : place + 1]
        shares[:, place] = (as_high & sample.target).sum(axis=1) / as_high.sum(axis=1)
    relevant = sample.target.sum(axis=1)
    means = (shares * sample.target).sum(axis=1) / np.maximum(relevant, 1)
    return sample.mean(np.where((relevant == 0) | (relevant == sample.class_count), 1.0, means))


def coverage_error(sample: MultiLabelSample) -> Floats:
    """Return how far down the ranked classes of an item one must go to meet all of its own, on average.

    The best value is the mean number of classes per item. Ties count as ranked as high; an item without a class counts
    0. Tsoumakas, Katakis and Vlahavas (2010), section 7.3, which subtract 1.
    """
    lowest = np.where(sample.target, sample.probabilities, np.inf).min(axis=1, keepdims=True)
    return sample.mean((sample.probabilities >= lowest).sum(axis=1).astype(np.float64))


def average_precision(sample: MultiLabelSample) -> Floats:
    """Return, per class, the mean precision over the items that have it, each at its own probability: (b, k).

    The sum over thresholds of the gain in recall times the precision, without interpolation. NaN where the class does
    not occur. Zhu, "Recall, Precision and Average Precision" (University of Waterloo, 2004).
    """
    columns = [_average_precision(sample, place) for place in range(sample.class_count)]
    return np.stack(columns, axis=1)


def _average_precision(sample: MultiLabelSample, place: int) -> Floats:
    scores = -sample.probabilities[:, place]
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    weights = sample.weights[:, order]
    positives = np.add.reduceat(weights * sample.target[order, place], starts, axis=1)
    found = np.cumsum(positives, axis=1)
    predicted = np.cumsum(np.add.reduceat(weights, starts, axis=1), axis=1)
    precision = np.divide(found, predicted, out=np.zeros_like(found), where=predicted > 0)
    return divide((positives * precision).sum(axis=1), found[:, -1])


THRESHOLDS = np.linspace(0, 1, 101)
"""Probabilities from which on an item would be said to have a class."""


def threshold_curves(sample: MultiLabelSample, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per class and threshold: ``class``, ``threshold``, ``precision``, ``recall``, ``f1``.

    Null where a value is not defined: precision of no prediction, recall of a class that does not occur.
    """
    return pl.concat([_curve(sample, place, name) for place, name in enumerate(classes)])


def _curve(sample: MultiLabelSample, place: int, name: str) -> pl.DataFrame:
    probabilities, has = sample.probabilities[:, place], sample.target[:, place]
    predicted, hits = (
        len(values) - np.searchsorted(np.sort(values), THRESHOLDS) for values in (probabilities, probabilities[has])
    )
    found, right = predicted.astype(np.float64), hits.astype(np.float64)
    wanted = np.full(len(THRESHOLDS), float(has.sum()))
    table = pl.DataFrame(
        {
            "class": [name] * len(THRESHOLDS),
            "threshold": THRESHOLDS,
            "precision": divide(right, found),
            "recall": divide(right, wanted),
            "f1": divide(2 * right, found + wanted),
        }
    )
    return table.with_columns(pl.selectors.float().fill_nan(None))
