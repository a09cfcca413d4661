"""Metrics of predicted classes, and the calibration of their probabilities.

Belongs here: one function per metric, from a sample with b weightings to values (b,), or (b, k) with one per class;
the table of calibration. Does not belong here: intervals, several labels per item (``assay.metrics.multi_label``).
"""

import numpy as np
import polars as pl

from assay.metrics.samples import (
    ClassificationSample,
    Floats,
    Integers,
    balanced_trials,
    mean_of_defined,
    safe_divide,
)


def accuracy(sample: ClassificationSample) -> Floats:
    """Return the share of items whose class is right."""
    return safe_divide(_hits(sample).sum(axis=1), sample.confusion.sum(axis=(1, 2)))


def hits(sample: ClassificationSample) -> Floats:
    """Return which items have the right class: (n,) of 0 and 1."""
    return np.asarray(sample.predicted == sample.target, np.float64)


def balanced_accuracy(sample: ClassificationSample) -> Floats:
    """Return the mean recall over the classes that occur, so that frequent classes count no more than rare ones."""
    return mean_of_defined(recall(sample))


def macro_f1(sample: ClassificationSample) -> Floats:
    """Return the mean F1 over the classes that occur or are predicted."""
    return mean_of_defined(f1(sample))


def precision(sample: ClassificationSample) -> Floats:
    """Return, per class, the share of its predictions that are right; NaN when it is never predicted: (b, k)."""
    return safe_divide(_hits(sample), sample.confusion.sum(axis=1))


def recall(sample: ClassificationSample) -> Floats:
    """Return, per class, the share of its items that are predicted as it; NaN when it does not occur: (b, k)."""
    return safe_divide(_hits(sample), sample.confusion.sum(axis=2))


def f1(sample: ClassificationSample) -> Floats:
    """Return, per class, the harmonic mean of precision and recall; NaN when it neither occurs nor is predicted."""
    occurring_or_predicted = sample.confusion.sum(axis=1) + sample.confusion.sum(axis=2)
    return safe_divide(2 * _hits(sample), occurring_or_predicted)


def log_loss(sample: ClassificationSample) -> Floats:
    """Return the mean of -ln(probability of the true class), in nats.

    Probabilities are kept above 2.2e-16, so that one confident mistake costs at most 36 nats, not infinity.
    """
    return sample.mean(log_losses(sample))


def log_losses(sample: ClassificationSample) -> Floats:
    """Return -ln(probability of the true class) of each item, in nats: (n,)."""
    of_target = sample.probabilities[np.arange(len(sample.target)), sample.target]
    smallest = np.finfo(np.float64).eps
    losses: Floats = -np.log(np.clip(of_target, smallest, 1 - smallest))
    return losses


def roc_auc(sample: ClassificationSample) -> Floats:
    """Return the probability that a random item of the second class scores above one of the first; ties count half.

    The Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 143, 1982). NaN where one of
    the classes does not occur.
    """
    scores = sample.probabilities[:, 1]
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    weights, positive = sample.weights[:, order], sample.target[order] == 1
    positives = np.add.reduceat(weights * positive, starts, axis=1)
    negatives = np.add.reduceat(weights * ~positive, starts, axis=1)
    negatives_below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return safe_divide((positives * negatives_below).sum(axis=1), pairs)


def _hits(sample: ClassificationSample) -> Floats:
    hits: Floats = np.diagonal(sample.confusion, axis1=1, axis2=2)
    return hits


def calibration_error(sample: ClassificationSample) -> Floats:
    """Return the expected calibration error: the mean gap between confidence and accuracy over bins of confidence.

    The m bins have equal width, (0, 1/m], …, (1 - 1/m, 1], and are weighted by their items. Naeini, Cooper and
    Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015); Guo et al., "On
    Calibration of Modern Neural Networks" (ICML 2017), equation 3. A gap that is measured on few items is never 0, even
    if the confidences are right; what chance adds to it is subtracted, as by Kumar, Liang and Ma, "Verified Uncertainty
    Calibration" (NeurIPS 2019).
    """
    from scipy.special import erf  # a tenth of a second, which loading the definitions need not take

    count, gap, deviation = _calibration(sample)
    expected = deviation * np.sqrt(2 / np.pi) * np.exp(-((gap / deviation) ** 2) / 2) + gap * erf(
        gap / deviation / np.sqrt(2)
    )
    total = count.sum(axis=1)
    by_chance = (count * (expected - np.abs(gap))).sum(axis=1) / total
    error: Floats = np.maximum((count * np.abs(gap)).sum(axis=1) / total - by_chance, 0.0)
    return error


def deviations_from_calibration(sample: ClassificationSample) -> Floats:
    """Return of each item what its bin's mean is the gap of, with the sign that makes the gap positive: (n,)."""
    _, gap, _ = _calibration(sample)
    sign = np.sign(gap[0])[_bin_of(sample.confidence, sample.calibration_bins)]
    deviations: Floats = sign * (sample.confidence - (sample.predicted == sample.target))
    return deviations


def _calibration(sample: ClassificationSample) -> tuple[Floats, Floats, Floats]:
    """Return weight, mean of confidence minus accuracy, and its standard error in each bin: (b, m) each."""
    bins = np.zeros((3, len(sample.target), sample.calibration_bins))
    place = (np.arange(len(sample.target)), _bin_of(sample.confidence, sample.calibration_bins))
    correct = sample.predicted == sample.target
    for part, values in zip(bins, (1.0, sample.confidence - correct, correct), strict=True):
        part[place] = values
    count, gap, hits = (sample.weights @ part for part in bins)
    share = (hits + 0.5) / (count + 1)  # so that a bin with no mistake, or no hit, varies too
    return count, gap / np.maximum(count, 1), np.sqrt(share * (1 - share) / np.maximum(count, 1))


def true_counts(sample: ClassificationSample) -> Floats:
    """Return the number of items of each class: (k,)."""
    counts: Floats = sample.confusion.sum(axis=2)[0]
    return counts


def predicted_counts(sample: ClassificationSample) -> Floats:
    """Return the number of predictions of each class: (k,)."""
    counts: Floats = sample.confusion.sum(axis=1)[0]
    return counts


def rarest_count(sample: ClassificationSample) -> Floats:
    """Return the number of items of the rarer of two classes: ()."""
    count: Floats = true_counts(sample).min()
    return count


def balanced_count(sample: ClassificationSample) -> Floats:
    """Return of how many items a plain share would vary as the mean of the classes' shares does: ()."""
    return balanced_trials(true_counts(sample))


def calibration_table(sample: ClassificationSample) -> pl.DataFrame:
    """Return one row per bin that holds items: its number, limits, count, mean confidence and accuracy."""
    count = sample.calibration_bins
    items = pl.DataFrame(
        {
            "bin": _bin_of(sample.confidence, count).astype(np.int32),
            "confidence": sample.confidence,
            "correct": (sample.predicted == sample.target).astype(np.float64),
        }
    )
    rows = items.group_by("bin").agg(
        count=pl.len().cast(pl.Int64), mean_confidence=pl.mean("confidence"), accuracy=pl.mean("correct")
    )
    return rows.sort("bin").select(
        "bin",
        (pl.col("bin") / count).alias("confidence_low"),
        ((pl.col("bin") + 1) / count).alias("confidence_high"),
        "count",
        "mean_confidence",
        "accuracy",
    )


def _bin_of(confidence: Floats, count: int) -> Integers:
    return np.clip(np.ceil(confidence * count).astype(np.int64) - 1, 0, count - 1)
