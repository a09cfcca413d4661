"""Metrics of several labels at once.

Belongs here: one function per metric, from a sample with b weightings to b values, or b x k for each class. Does not
belong here: metrics of rankings and scores (``multi_label_scores``), intervals.
"""

import numpy as np

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
