"""Metrics of predicted boxes.

Belongs here: what they are computed from, one function per metric. Does not belong here: matching, average precision,
reading boxes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from assay.metrics.box_matching import MOST_BOXES, THRESHOLDS, Boxes, Matches, Scores, match_boxes, weighted_scores
from assay.metrics.samples import Floats, mean_of_defined

AT_50, AT_75 = 0, 5
"""Places of the overlaps 0.5 and 0.75 among the thresholds."""


@dataclass(frozen=True)
class DetectionSample:
    """Images with true objects and predicted boxes.

    Attributes:
        predicted: Predicted boxes.
        objects: True objects.
        matches: Which box finds which object; does not depend on weights.
        class_count: Number k of classes.
        weights: (b, n) how often each image counts, in each of b weightings; every row has a positive sum.
    """

    predicted: Boxes
    objects: Boxes
    matches: Matches
    class_count: int
    weights: Floats

    @property
    def cells(self) -> int:
        """A few sums for every box that counts."""
        return 4 * len(self.matches.boxes)

    @property
    def class_counts(self) -> list[int]:
        """Objects of each class, crowds left out."""
        labels = self.objects.label[~self.objects.crowd]
        counts: list[int] = np.bincount(labels, minlength=self.class_count).tolist()
        return counts

    @cached_property
    def scores(self) -> Scores:
        """Average precision and recall.

        Where every image counts once the library has the word; other weightings are ours, which it does not know.
        """
        if len(self.weights) == 1 and np.all(self.weights == 1) and len(self.predicted) and len(self.objects):
            return coco_scores(self.predicted, self.objects, self.class_count, self.weights.shape[1])
        return weighted_scores(self.predicted, self.objects, self.matches, self.class_count, self.weights)


def make_sample(predicted: Boxes, objects: Boxes, class_count: int, image_count: int) -> DetectionSample:
    """Return the sample in which every image counts once."""
    matches = match_boxes(predicted, objects)
    return DetectionSample(predicted, objects, matches, class_count, np.ones((1, image_count)))


def ap50_95(sample: DetectionSample) -> Floats:
    """Return, per class, the average precision, mean over the overlaps 0.5, 0.55, …, 0.95; NaN without objects."""
    mean: Floats = sample.scores.precision.mean(axis=1)
    return mean


def ap50(sample: DetectionSample) -> Floats:
    """Return, per class, the average precision where an overlap of 0.5 is enough; NaN without objects."""
    return sample.scores.precision[:, AT_50]


def map50_95(sample: DetectionSample) -> Floats:
    """Return COCO's mean average precision: over the classes that have objects, and overlaps from 0.5 to 0.95."""
    return mean_of_defined(ap50_95(sample))


def map50(sample: DetectionSample) -> Floats:
    """Return the mean average precision over the classes that have objects, where an overlap of 0.5 is enough."""
    return mean_of_defined(ap50(sample))


def map75(sample: DetectionSample) -> Floats:
    """Return the mean average precision over the classes that have objects, where an overlap of 0.75 is needed."""
    return mean_of_defined(sample.scores.precision[:, AT_75])


def recall100(sample: DetectionSample) -> Floats:
    """Return the share of objects found by the 100 surest boxes of each image: mean over classes and overlaps."""
    return mean_of_defined(sample.scores.recall.mean(axis=1))


def coco_scores(predicted: Boxes, objects: Boxes, class_count: int, image_count: int) -> Scores:
    """Return average precision and recall of every class, as COCO defines them: one weighting, every image once.

    Args:
        predicted: Predicted boxes, at least one.
        objects: True objects, at least one.
        class_count: Number k of classes.
        image_count: Number of images; those without boxes count too.
    """
    precision, recall = coco_precision_recall(predicted, objects, class_count, image_count, THRESHOLDS)
    known = recall[None] >= 0
    return Scores(np.where(known, precision[None].mean(axis=2), np.nan), np.where(known, recall[None], np.nan))


def coco_precision_recall(
    predicted: Boxes, objects: Boxes, class_count: int, image_count: int, thresholds: Floats
) -> tuple[Floats, Floats]:
    """Return COCO's precision at 101 recalls, and the recall, of every class; -1 for classes without objects.

    Args:
        predicted: Predicted boxes, at least one.
        objects: True objects, at least one.
        class_count: Number k of classes.
        image_count: Number of images; those without boxes count too.
        thresholds: (t,) overlaps from which on a box counts as finding an object.

    Returns:
        Precision (t, 101, k) and recall (t, k).
    """
    from faster_coco_eval import COCO, COCOeval_faster

    data = {
        "images": [{"id": image + 1} for image in range(image_count)],
        "categories": [{"id": place + 1, "name": str(place)} for place in range(class_count)],
        "annotations": [
            {"id": row + 1, "area": box["bbox"][2] * box["bbox"][3], "iscrowd": int(crowd), **box}
            for row, (box, crowd) in enumerate(zip(_records(objects), objects.crowd, strict=True))
        ],
    }
    confidences = predicted.confidence.tolist()
    results = [{**box, "score": score} for box, score in zip(_records(predicted), confidences, strict=True)]
    truth = COCO(data)
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.params.iouThrs = thresholds
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [MOST_BOXES]
    evaluation.evaluate()
    evaluation.accumulate()
    # (thresholds, recalls, classes, areas, limits) and without recalls
    precision, recall = (np.asarray(evaluation.eval[name], np.float64) for name in ("precision", "recall"))
    return precision[..., 0, 0], recall[..., 0, 0]


def _records(boxes: Boxes) -> list[dict[str, Any]]:
    rows = zip((boxes.image + 1).tolist(), (boxes.label + 1).tolist(), boxes.place.tolist(), strict=True)
    return [{"image_id": image, "category_id": label, "bbox": place} for image, label, place in rows]
