"""What metrics are computed from: items, and any number of weightings of them; and trivial predictions of these.

Belongs here: the arrays and sums that several metrics share, and predictions made without looking at an item, which a
model has to beat. Does not belong here: a metric.
"""

from dataclasses import Field, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
Integers = NDArray[np.int64]


class Sample(Protocol):
    """What the samples of all tasks have in common; each is a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def weights(self) -> Floats:
        """How often each item counts, in each of b weightings: (b, n)."""

    @property
    def cells(self) -> int:
        """How many numbers metrics keep in memory for each weighting, besides the n weights."""

    @property
    def class_counts(self) -> list[int]:
        """Number of items, or objects, of each class; empty where there are no classes."""


class _WeightedItems:
    """What samples with one row per item share."""

    weights: Floats

    def mean(self, values: Floats) -> Floats:
        """Return the weighted mean of values (n,) under each weighting: (b,)."""
        mean: Floats = self.weights @ values / self.weights.sum(axis=1)
        return mean


@dataclass(frozen=True)
class RegressionSample(_WeightedItems):
    """Predicted numbers.

    Attributes:
        target: (n,) in the label's unit.
        prediction: (n,) in the label's unit.
        weights: (b, n) how often each item counts, in each of b weightings; every row has a positive sum.
    """

    target: Floats
    prediction: Floats
    weights: Floats

    @property
    def cells(self) -> int:
        """One mean per weighting."""
        return 1

    @property
    def class_counts(self) -> list[int]:
        """Empty: numbers have no classes."""
        return []


@dataclass(frozen=True)
class ClassificationSample(_WeightedItems):
    """Predicted classes.

    Attributes:
        target: (n,) index of the true class.
        predicted: (n,) index of the predicted class.
        probabilities: (n, k) rows sum to 1.
        weights: (b, n) how often each item counts, in each of b weightings; every row has a positive sum.
        calibration_bins: Number of bins of the calibration error.
    """

    target: Integers
    predicted: Integers
    probabilities: Floats
    weights: Floats
    calibration_bins: int = 15

    @property
    def class_count(self) -> int:
        """Number k of classes."""
        return int(self.probabilities.shape[1])

    @property
    def cells(self) -> int:
        """The cells of one confusion matrix."""
        return self.class_count**2

    @property
    def class_counts(self) -> list[int]:
        """Number of items of each class."""
        counts: list[int] = np.bincount(self.target, minlength=self.class_count).tolist()
        return counts

    @property
    def confidence(self) -> Floats:
        """Probability of the predicted class (n,)."""
        confidence: Floats = self.probabilities[np.arange(len(self.predicted)), self.predicted]
        return confidence

    @cached_property
    def confusion(self) -> Floats:
        """Weight per true and predicted class: (b, k, k)."""
        cells = self.target * self.class_count + self.predicted
        order = np.argsort(cells, kind="stable")
        present, starts = np.unique(cells[order], return_index=True)
        confusion = np.zeros((len(self.weights), self.class_count**2))
        confusion[:, present] = np.add.reduceat(self.weights[:, order], starts, axis=1)
        return confusion.reshape(-1, self.class_count, self.class_count)


@dataclass(frozen=True)
class MultiLabelSample(_WeightedItems):
    """Items with any number of classes each.

    Attributes:
        target: (n, k) whether the item has the class.
        predicted: (n, k) whether the class is predicted.
        probabilities: (n, k) independent of each other, each from 0 to 1.
        weights: (b, n) how often each item counts, in each of b weightings; every row has a positive sum.
    """

    target: Booleans
    predicted: Booleans
    probabilities: Floats
    weights: Floats

    @property
    def class_count(self) -> int:
        """Number k of classes."""
        return int(self.target.shape[1])

    @property
    def cells(self) -> int:
        """One sum per class."""
        return self.class_count

    @property
    def class_counts(self) -> list[int]:
        """Number of items that have each class."""
        counts: list[int] = self.target.sum(axis=0).tolist()
        return counts

    def total(self, marked: Booleans) -> Floats:
        """Return the weight of the items marked (n, k) for each class, under each weighting: (b, k)."""
        total: Floats = self.weights @ marked.astype(np.float64)
        return total


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the classes (b,) of values (b, k), without those that are NaN."""
    return safe_divide(np.nansum(values, axis=1), np.sum(~np.isnan(values), axis=1).astype(np.float64))


def balanced_trials(counts: Floats) -> Floats:
    """Return of how many trials a plain share would vary as the mean of shares of ``counts`` (k,) trials does: ()."""
    occurring = counts[counts > 0]
    return np.asarray(len(occurring) ** 2 / (1 / occurring).sum() if len(occurring) else 0.0)


def safe_divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient; NaN, which stands for a metric that is not defined, where the denominator is 0."""
    undefined = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    quotient: Floats = np.divide(numerator, denominator, out=undefined, where=denominator != 0)
    return quotient


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
