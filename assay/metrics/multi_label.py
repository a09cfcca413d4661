"""Metrics of several labels per item: of the predicted labels, and of the ranking by their probabilities.

Belongs here: one function per metric, from a sample with b weightings to values (b,), or (b, k) with one per class;
precision and recall at every threshold. Does not belong here: intervals.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.metrics.samples import Booleans, Floats, MultiLabelSample, balanced_trials, mean_of_defined, safe_divide


def macro_f1(sample: MultiLabelSample) -> Floats:
    """Return the mean F1 over the classes that occur or are predicted."""
    return mean_of_defined(f1(sample))


def micro_f1(sample: MultiLabelSample) -> Floats:
    """Return the F1 over all pairs of item and class; NaN when no class occurs or is predicted."""
    occurring_or_predicted = sample.total(sample.target) + sample.total(sample.predicted)
    return safe_divide(2 * sample.total(_hits(sample)).sum(axis=1), occurring_or_predicted.sum(axis=1))


def exact_match(sample: MultiLabelSample) -> Floats:
    """Return the share of items whose predicted classes are exactly the true ones."""
    return sample.mean(exact_matches(sample))


def exact_matches(sample: MultiLabelSample) -> Floats:
    """Return which items have exactly the true classes: (n,) of 0 and 1."""
    return np.asarray(np.all(sample.target == sample.predicted, axis=1), np.float64)


def hamming_loss(sample: MultiLabelSample) -> Floats:
    """Return the share of pairs of item and class that are wrong."""
    return sample.mean((sample.target != sample.predicted).mean(axis=1))


def precision(sample: MultiLabelSample) -> Floats:
    """Return, per class, the share of its predictions that are right; NaN when it is never predicted: (b, k)."""
    return safe_divide(sample.total(_hits(sample)), sample.total(sample.predicted))


def recall(sample: MultiLabelSample) -> Floats:
    """Return, per class, the share of its items for which it is predicted; NaN when it does not occur: (b, k)."""
    return safe_divide(sample.total(_hits(sample)), sample.total(sample.target))


def f1(sample: MultiLabelSample) -> Floats:
    """Return, per class, the harmonic mean of precision and recall; NaN when it neither occurs nor is predicted."""
    return safe_divide(2 * sample.total(_hits(sample)), sample.total(sample.target) + sample.total(sample.predicted))


def _hits(sample: MultiLabelSample) -> Booleans:
    return sample.target & sample.predicted


def ranking_average_precision(sample: MultiLabelSample) -> Floats:
    """Return the label ranking average precision.

    For each true class of an item: the share of true classes among the classes that are at least as probable; averaged
    over the item's classes, then over the items. It is 1 when the true classes of every item are more probable than all
    others. Items with no class, or with all of them, count 1, as no ranking of them could be wrong. Tsoumakas,
    Katakis and Vlahavas, "Mining Multi-label Data" (Data Mining and Knowledge Discovery Handbook, 2010), section 7.3.
    """
    shares = np.zeros(sample.target.shape)
    for label in range(sample.class_count):
        as_high = sample.probabilities >= sample.probabilities[:, label : label + 1]
        shares[:, label] = (as_high & sample.target).sum(axis=1) / as_high.sum(axis=1)
    relevant = sample.target.sum(axis=1)
    means = (shares * sample.target).sum(axis=1) / np.maximum(relevant, 1)
    return sample.mean(np.where((relevant == 0) | (relevant == sample.class_count), 1.0, means))


def coverage_error(sample: MultiLabelSample) -> Floats:
    """Return how many of the most probable classes one must take, on average, to include all true ones of an item.

    The best value is the mean number of classes per item. Equally probable classes are taken together; an item without
    a class counts 0. Tsoumakas, Katakis and Vlahavas (2010), section 7.3, who subtract 1.
    """
    return sample.mean(coverages(sample))


def coverages(sample: MultiLabelSample) -> Floats:
    """Return how many of the most probable classes include all true ones of each item: (n,)."""
    lowest = np.where(sample.target, sample.probabilities, np.inf).min(axis=1, keepdims=True)
    coverages: Floats = (sample.probabilities >= lowest).sum(axis=1).astype(np.float64)
    return coverages


def average_precision(sample: MultiLabelSample) -> Floats:
    """Return, per class, the average precision: (b, k).

    It is the sum over thresholds of the gain in recall times the precision, without interpolation; NaN where the class
    does not occur. Zhu, "Recall, Precision and Average Precision" (University of Waterloo, 2004).
    """
    columns = [_average_precision(sample, label) for label in range(sample.class_count)]
    return np.stack(columns, axis=1)


def _average_precision(sample: MultiLabelSample, label: int) -> Floats:
    scores = -sample.probabilities[:, label]
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    weights = sample.weights[:, order]
    positives = np.add.reduceat(weights * sample.target[order, label], starts, axis=1)
    hits = np.cumsum(positives, axis=1)
    predicted = np.cumsum(np.add.reduceat(weights, starts, axis=1), axis=1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    return safe_divide((positives * precision).sum(axis=1), hits[:, -1])


def true_label_counts(sample: MultiLabelSample) -> Floats:
    """Return the number of items with each class: (k,)."""
    counts: Floats = sample.target.sum(axis=0).astype(np.float64)
    return counts


def predicted_label_counts(sample: MultiLabelSample) -> Floats:
    """Return the number of predictions of each class: (k,)."""
    counts: Floats = sample.predicted.sum(axis=0).astype(np.float64)
    return counts


def balanced_label_count(sample: MultiLabelSample) -> Floats:
    """Return of how many items a plain share would vary as the mean of the classes' shares does: ()."""
    return balanced_trials(true_label_counts(sample))


PROBABILITY_THRESHOLDS = np.linspace(0, 1, 101)
"""Probabilities from which a class would be predicted, for curves."""


def threshold_curves(sample: MultiLabelSample, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per class and threshold: ``class``, ``threshold``, ``precision``, ``recall``, ``f1``.

    Values that are not defined are null: the precision of no prediction, the recall of a class that does not occur.
    """
    return pl.concat([_curve(sample, label, name) for label, name in enumerate(classes)])


def _curve(sample: MultiLabelSample, label: int, name: str) -> pl.DataFrame:
    probabilities, target = sample.probabilities[:, label], sample.target[:, label]
    predicted, hits = (_counts_at_thresholds(values) for values in (probabilities, probabilities[target]))
    occurring = np.full(len(hits), float(target.sum()))
    table = pl.DataFrame(
        {
            "class": [name] * len(hits),
            "threshold": PROBABILITY_THRESHOLDS,
            "precision": safe_divide(hits, predicted),
            "recall": safe_divide(hits, occurring),
            "f1": safe_divide(2 * hits, predicted + occurring),
        }
    )
    return table.with_columns(pl.selectors.float().fill_nan(None))


def _counts_at_thresholds(probabilities: Floats) -> Floats:
    """Return how many probabilities reach each threshold: (101,)."""
    counts = len(probabilities) - np.searchsorted(np.sort(probabilities), PROBABILITY_THRESHOLDS)
    return counts.astype(np.float64)
