"""Scores of boxes by the library faster-coco-eval, which computes what pycocotools does.

Belongs here: from our arrays to the library's records and back. Does not belong here: scores of our own.
"""

from typing import Any

import numpy as np

from assay.metrics.average_precision import Scores
from assay.metrics.box_matching import MOST_BOXES, THRESHOLDS
from assay.metrics.boxes import Boxes


def coco_scores(predicted: Boxes, objects: Boxes, class_count: int, image_count: int) -> Scores:
    """Return average precision and recall of every class, as COCO defines them: one weighting, every image once.

    Args:
        predicted: Predicted boxes, at least one.
        objects: True objects, at least one.
        class_count: Number k of classes.
        image_count: Number of images; those without boxes count too.
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
    evaluation.params.iouThrs = THRESHOLDS
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [MOST_BOXES]
    evaluation.evaluate()
    evaluation.accumulate()
    # (thresholds, recalls, classes, areas, limits) and without recalls; -1 stands for classes without objects
    precision, recall = (np.asarray(evaluation.eval[name], np.float64) for name in ("precision", "recall"))
    known = recall[None, :, :, 0, 0] >= 0
    return Scores(
        np.where(known, precision[None, :, :, :, 0, 0].mean(axis=2), np.nan),
        np.where(known, recall[None, :, :, 0, 0], np.nan),
    )


def _records(boxes: Boxes) -> list[dict[str, Any]]:
    rows = zip((boxes.image + 1).tolist(), (boxes.label + 1).tolist(), boxes.place.tolist(), strict=True)
    return [{"image_id": image, "category_id": label, "bbox": place} for image, label, place in rows]
