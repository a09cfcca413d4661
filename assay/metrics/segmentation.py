"""Metrics of the class of every pixel.

Belongs here: what they are computed from, one function per metric. Does not belong here: reading masks, intervals.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from assay.metrics.samples import Floats, divide, mean_of_defined


@dataclass(frozen=True)
class SegmentationSample:
    """Images whose pixels have a true and a predicted class; 0 is the background.

    Attributes:
        counts: (n, 1 + k, 1 + k) pixels of each image per true and predicted class; unknown ones left out.
        weights: (b, n) how often each image counts, in each of b weightings; every row has a positive sum.
    """

    counts: Floats
    weights: Floats

    @property
    def cells(self) -> int:
        """Three sums per class."""
        return 3 * len(self.counts[0])

    @property
    def class_counts(self) -> list[int]:
        """Images in which each class occurs, the background left out."""
        counts: list[int] = (self.counts.sum(axis=2) > 0).sum(axis=0)[1:].tolist()
        return counts

    @cached_property
    def right(self) -> Floats:
        """Weight of the pixels of each class, the background included, that are found: (b, 1 + k)."""
        return self._total(np.diagonal(self.counts, axis1=1, axis2=2))

    @cached_property
    def occurring(self) -> Floats:
        """Weight of the pixels of each true class: (b, 1 + k)."""
        return self._total(self.counts.sum(axis=2))

    @cached_property
    def predicted(self) -> Floats:
        """Weight of the pixels of each predicted class: (b, 1 + k)."""
        return self._total(self.counts.sum(axis=1))

    @property
    def foreground_right(self) -> Floats:
        """Weight of the pixels that belong to some class and are said to belong to one, whichever: (b,)."""
        return self._total(self.counts[:, 1:, 1:].sum(axis=(1, 2)))

    def predict_everywhere(self, place: int) -> "SegmentationSample":
        """Return the sample with every pixel predicted as one class, 0 for the background."""
        counts = np.zeros_like(self.counts)
        counts[:, :, place] = self.counts.sum(axis=2)
        return replace(self, counts=counts)

    def _total(self, values: Floats) -> Floats:
        total: Floats = self.weights @ values
        return total


def iou(sample: SegmentationSample) -> Floats:
    """Return, per class, the pixels that are rightly its over those that are or are said to be: (b, k).

    Intersection over union, the Jaccard index; NaN when the class neither occurs nor is predicted.
    """
    union = sample.occurring + sample.predicted - sample.right
    return divide(sample.right, union)[:, 1:]


def dice(sample: SegmentationSample) -> Floats:
    """Return, per class, the harmonic mean of precision and recall: (b, k).

    The F1 score of pixels; NaN when the class neither occurs nor is predicted. Dice, "Measures of the Amount of
    Ecologic Association Between Species" (Ecology 26, 1945).
    """
    return divide(2 * sample.right, sample.occurring + sample.predicted)[:, 1:]


def precision(sample: SegmentationSample) -> Floats:
    """Return, per class, the share of the pixels said to be its that are; NaN when it is never predicted: (b, k)."""
    return divide(sample.right, sample.predicted)[:, 1:]


def recall(sample: SegmentationSample) -> Floats:
    """Return, per class, the share of its pixels that are found; NaN when it does not occur: (b, k)."""
    return divide(sample.right, sample.occurring)[:, 1:]


def mean_iou(sample: SegmentationSample) -> Floats:
    """Return the mean IoU over the classes that occur or are predicted, the background left out."""
    return mean_of_defined(iou(sample))


def mean_dice(sample: SegmentationSample) -> Floats:
    """Return the mean Dice score over the classes that occur or are predicted, the background left out."""
    return mean_of_defined(dice(sample))


def foreground_iou(sample: SegmentationSample) -> Floats:
    """Return the IoU of all classes taken as one: whether objects are told from background, whatever they are."""
    occurring, predicted = sample.occurring[:, 1:].sum(axis=1), sample.predicted[:, 1:].sum(axis=1)
    both = sample.foreground_right
    return divide(both, occurring + predicted - both)


def pixel_accuracy(sample: SegmentationSample) -> Floats:
    """Return the share of the pixels whose class is right, the background included."""
    return divide(sample.right.sum(axis=1), sample.occurring.sum(axis=1))
