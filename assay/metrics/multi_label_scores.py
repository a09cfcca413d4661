"""Metrics of the probabilities of several labels at once: whether an item's classes come before all others.

Belongs here: rankings within an item, and of the items for each class. Does not belong here: metrics of decided labels
(``multi_label``).
"""

import numpy as np

from assay.metrics.samples import Floats, MultiLabelSample, divide


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
