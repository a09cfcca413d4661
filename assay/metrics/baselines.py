"""Trivial predictions, made from the training targets without looking at an item, which a model has to beat."""

from dataclasses import replace

import numpy as np

from assay.metrics.samples import Booleans, ClassificationSample, Floats, Integers, MultiLabelSample, RegressionSample


def predict_mean(sample: RegressionSample, train_target: Floats) -> RegressionSample:
    """Return the sample with every prediction replaced by the mean of the training targets."""
    return replace(sample, prediction=np.full_like(sample.prediction, train_target.mean()))


def predict_majority(sample: ClassificationSample, train_target: Integers) -> ClassificationSample:
    """Return the sample with every prediction replaced by the most frequent class of the training targets.

    Of several equally frequent classes it is the first. The probabilities are the frequencies of the classes.

    Args:
        sample: Items with true classes.
        train_target: (m,) class indices of the training items.
    """
    frequencies = np.bincount(train_target, minlength=sample.class_count) / len(train_target)
    return replace(
        sample,
        predicted=np.full_like(sample.predicted, int(frequencies.argmax())),
        probabilities=np.tile(frequencies, (len(sample.target), 1)),
    )


def predict_certainly(sample: ClassificationSample) -> ClassificationSample:
    """Return the sample with the same predicted classes, each with probability 1."""
    return replace(sample, probabilities=np.eye(sample.class_count)[sample.predicted])


def predict_every_class(sample: MultiLabelSample) -> MultiLabelSample:
    """Return the sample with every class predicted for every item: the best F1 that is possible without looking."""
    return replace(sample, predicted=np.ones_like(sample.predicted))


def predict_frequencies(sample: MultiLabelSample, train_target: Booleans) -> MultiLabelSample:
    """Return the sample with every prediction replaced by how often the training items have each class.

    The predicted classes are those that at least half of the training items have.

    Args:
        sample: Items with true classes.
        train_target: (m, k) which classes the training items have.
    """
    frequencies = np.broadcast_to(train_target.mean(axis=0), sample.target.shape)
    return replace(sample, predicted=frequencies >= 0.5, probabilities=frequencies.astype(np.float64))
