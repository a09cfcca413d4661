"""Metrics of predicted boxes: average precision and recall as COCO defines them.

Belongs here: one function per metric, and the evaluation by faster-coco-eval. Does not belong here: matching boxes and
scores under weightings (``assay.metrics.box_matching``), reading boxes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from assay.metrics.box_matching import (
    IOU_THRESHOLDS,
    MAX_DETECTIONS,
    RECALLS,
    Boxes,
    Matches,
    Scores,
    match_boxes,
    weighted_scores,
)
from assay.metrics.samples import Floats, mean_of_defined

AT_50, AT_75 = 0, 5
"""Indices of the thresholds 0.5 and 0.75."""


@dataclass(frozen=True)
class DetectionSample:
    """Images with true objects and predicted boxes.

    Attributes:
        predicted: Predicted boxes.
        objects: True objects.
        matches: Which box finds which object; it does not depend on the weights.
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
        """Four sums for every box that counts."""
        return 4 * len(self.matches.boxes)

    @property
    def class_counts(self) -> list[int]:
        """Number of objects of each class, without crowds."""
        labels = self.objects.label[~self.objects.crowd]
        counts: list[int] = np.bincount(labels, minlength=self.class_count).tolist()
        return counts

    @cached_property
    def scores(self) -> Scores:
        """Average precision and recall: by the library where every image counts once, as it knows no weights."""
        if len(self.weights) == 1 and np.all(self.weights == 1):
            return coco_scores(self.predicted, self.objects, self.class_count, self.weights.shape[1])
        return weighted_scores(self.predicted, self.objects, self.matches, self.class_count, self.weights)


def make_sample(predicted: Boxes, objects: Boxes, class_count: int, image_count: int) -> DetectionSample:
    """Return the sample in which every image counts once."""
    matches = match_boxes(predicted, objects)
    return DetectionSample(predicted, objects, matches, class_count, np.ones((1, image_count)))


def ap50_95(sample: DetectionSample) -> Floats:
    """Return, per class, the average precision over IoU thresholds 0.5, 0.55, …, 0.95; NaN without objects: (b, k)."""
    mean: Floats = sample.scores.precision.mean(axis=1)
    return mean


def ap50(sample: DetectionSample) -> Floats:
    """Return, per class, the average precision at an IoU of 0.5; NaN without objects: (b, k)."""
    return sample.scores.precision[:, AT_50]


def map50_95(sample: DetectionSample) -> Floats:
    """Return COCO's mean average precision: over the classes that have objects, and IoU thresholds from 0.5 to 0.95."""
    return mean_of_defined(ap50_95(sample))


def map50(sample: DetectionSample) -> Floats:
    """Return the mean average precision at an IoU of 0.5, over the classes that have objects."""
    return mean_of_defined(ap50(sample))


def map75(sample: DetectionSample) -> Floats:
    """Return the mean average precision at an IoU of 0.75, over the classes that have objects."""
    return mean_of_defined(sample.scores.precision[:, AT_75])


def recall100(sample: DetectionSample) -> Floats:
    """Return COCO's average recall: the share of objects found by the 100 most confident boxes of each image and class.

    It is averaged over the classes that have objects, and IoU thresholds from 0.5 to 0.95.
    """
    return mean_of_defined(sample.scores.recall.mean(axis=1))


def coco_scores(predicted: Boxes, objects: Boxes, class_count: int, image_count: int) -> Scores:
    """Return average precision and recall of every class, as COCO defines them: one weighting, every image once.

    Args:
        predicted: Predicted boxes.
        objects: True objects.
        class_count: Number k of classes.
        image_count: Number of images; those without boxes count too.
    """
    evaluation = evaluate_coco(predicted, objects, class_count, image_count)
    return Scores(evaluation["precision"].mean(axis=1)[None], evaluation["recall"][None])


def evaluate_coco(
    predicted: Boxes,
    objects: Boxes,
    class_count: int,
    image_count: int,
    iou_thresholds: Floats = IOU_THRESHOLDS,
    max_detections: int = MAX_DETECTIONS,
) -> dict[str, Floats]:
    """Return COCO's precision and recall, computed by faster-coco-eval.

    Args:
        predicted: Predicted boxes; they may be none.
        objects: True objects; they may be none.
        class_count: Number k of classes.
        image_count: Number of images; those without boxes count too.
        iou_thresholds: (t,) IoU from which a box counts as finding an object, ascending.
        max_detections: Only this many of the most confident boxes of each image and class count.

    Returns:
        ``precision``: (t, 101, k) the highest precision at each recall 0, 0.01, …, 1 or beyond, and ``recall``: (t, k)
        the share of the objects that are found; 0 to 1, NaN for classes without objects, where crowds do not count.
    """
    shape = (len(iou_thresholds), len(RECALLS), class_count)
    has_objects = np.isin(np.arange(class_count), objects.label[~objects.crowd])
    if not len(predicted) or not has_objects.any():
        precision, recall = np.zeros(shape), np.zeros((shape[0], class_count))
    else:
        precision, recall = _run_coco(predicted, objects, class_count, image_count, (iou_thresholds, max_detections))
    return {
        "precision": np.where(has_objects, precision, np.nan),
        "recall": np.where(has_objects, recall, np.nan),
    }


def _run_coco(
    predicted: Boxes, objects: Boxes, class_count: int, image_count: int, limits: tuple[Floats, int]
) -> tuple[Floats, Floats]:
    """Return the library's precision (t, 101, k) and recall (t, k); -1 stands for classes without objects."""
    annotations = [
        {"id": row + 1, "area": box["bbox"][2] * box["bbox"][3], "iscrowd": int(crowd), **box}
        for row, (box, crowd) in enumerate(zip(_records(objects), objects.crowd, strict=True))
    ]
    confidences = predicted.confidence.tolist()
    results = [{**box, "score": score} for box, score in zip(_records(predicted), confidences, strict=True)]
    ground_truth = COCO(
        {
            "images": [{"id": image + 1} for image in range(image_count)],
            "categories": [{"id": label + 1, "name": str(label)} for label in range(class_count)],
            "annotations": annotations,
        }
    )
    evaluation = COCOeval_faster(ground_truth, ground_truth.loadRes(results), "bbox", print_function=lambda *_: None)
    evaluation.params.iouThrs = limits[0]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [limits[1]]
    evaluation.evaluate()
    evaluation.accumulate()
    # The library's arrays end in two more axes: ranges of area and limits of detections, one of each here.
    precision, recall = (np.asarray(evaluation.eval[name], np.float64)[..., 0, 0] for name in ("precision", "recall"))
    return precision, recall


def _records(boxes: Boxes) -> list[dict[str, Any]]:
    """Return boxes as COCO writes them; its IDs start from 1, as 0 stands for "not matched"."""
    rows = zip((boxes.image + 1).tolist(), (boxes.label + 1).tolist(), boxes.xywh.tolist(), strict=True)
    return [{"image_id": image, "category_id": label, "bbox": box} for image, label, box in rows]
