"""Metrics of masks, computed from the pixels of each true and predicted class.

Belongs here: one function per metric, and the IoU of such counts. Does not belong here: reading masks, intervals.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from assay.metrics.samples import Floats, mean_of_defined, safe_divide


@dataclass(frozen=True)
class SegmentationSample:
    """Images whose pixels have a true and a predicted class; class 0 is the background.

    Attributes:
        counts: (n, 1 + k, 1 + k) pixels of each image per true and predicted class, without pixels of
            unknown class.
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
        """Number of images in which each class occurs, without the background."""
        counts: list[int] = (self.counts.sum(axis=2) > 0).sum(axis=0)[1:].tolist()
        return counts

    @cached_property
    def hits(self) -> Floats:
        """Weight of the pixels of each class, the background included, that are predicted as it: (b, 1 + k)."""
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
    def foreground_hits(self) -> Floats:
        """Weight of the pixels that belong to some class and are predicted as one, the same or another: (b,)."""
        return self._total(self.counts[:, 1:, 1:].sum(axis=(1, 2)))

    def predict_everywhere(self, label: int) -> "SegmentationSample":
        """Return the sample with every pixel predicted as one class; 0 is the background."""
        counts = np.zeros_like(self.counts)
        counts[:, :, label] = self.counts.sum(axis=2)
        return replace(self, counts=counts)

    def _total(self, values: Floats) -> Floats:
        total: Floats = self.weights @ values
        return total


def iou_of_counts(counts: Floats) -> Floats:
    """Return the intersection over union (Jaccard index) of every class.

    Args:
        counts: (..., 1 + k, 1 + k) pixels per true class (rows) and predicted class (columns); 0 is the background.

    Returns:
        (..., 1 + k), the background first; NaN where a class neither occurs nor is predicted.
    """
    return _iou(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2))


def _iou(hits: Floats, occurring: Floats, predicted: Floats) -> Floats:
    return safe_divide(hits, occurring + predicted - hits)


def iou(sample: SegmentationSample) -> Floats:
    """Return the intersection over union of every class: (b, k); NaN when it neither occurs nor is predicted."""
    return _iou(sample.hits, sample.occurring, sample.predicted)[:, 1:]


def dice(sample: SegmentationSample) -> Floats:
    """Return, per class, the harmonic mean of precision and recall, which is the F1 score of its pixels: (b, k).

    NaN when the class neither occurs nor is predicted. Dice, "Measures of the Amount of
    Ecologic Association Between Species" (Ecology 26, 1945).
    """
    return safe_divide(2 * sample.hits, sample.occurring + sample.predicted)[:, 1:]


def precision(sample: SegmentationSample) -> Floats:
    """Return, per class, the share of the pixels predicted as it that are right; NaN without any: (b, k)."""
    return safe_divide(sample.hits, sample.predicted)[:, 1:]


def recall(sample: SegmentationSample) -> Floats:
    """Return, per class, the share of its pixels that are predicted as it; NaN when it does not occur: (b, k)."""
    return safe_divide(sample.hits, sample.occurring)[:, 1:]


def mean_iou(sample: SegmentationSample) -> Floats:
    """Return the mean IoU over the classes that occur or are predicted, without the background."""
    return mean_of_defined(iou(sample))


def mean_dice(sample: SegmentationSample) -> Floats:
    """Return the mean Dice score over the classes that occur or are predicted, without the background."""
    return mean_of_defined(dice(sample))


def foreground_iou(sample: SegmentationSample) -> Floats:
    """Return the IoU of all classes taken as one: how well objects are separated from the background, (b,)."""
    occurring, predicted = sample.occurring[:, 1:].sum(axis=1), sample.predicted[:, 1:].sum(axis=1)
    return _iou(sample.foreground_hits, occurring, predicted)


def pixel_accuracy(sample: SegmentationSample) -> Floats:
    """Return the share of the pixels whose class is right, the background included."""
    return safe_divide(sample.hits.sum(axis=1), sample.occurring.sum(axis=1))
