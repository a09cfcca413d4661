"""What the detector makes small: a focal loss of the heat map and a GIoU loss of the boxes.

Belongs here: weighing the deviation of outputs from targets. Does not belong here: the targets (``targets``).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from assay.training.models.detector import CELL
from assay.training.tasks.detection.box_coding import CROWD, CellTargets, boxes_of, cell_targets, found_objects
from assay.training.tasks.detection.boxes import generalized_iou

BOX_WEIGHT = 2.0
"""Weight of the boxes against the heat map."""


def detection_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch: one number, 0 or more.

    Args:
        outputs: (B, k + 4, h, w) as ``Detector`` gives them, float32.
        targets: (B, M, 5): class, left, top, right, bottom in pixels; class -1 for no box, -2 for crowd regions.
    """
    class_count = outputs.shape[1] - 4
    wanted = cell_targets(targets, class_count, *outputs.shape[2:])
    return heat_loss(outputs[:, :class_count], wanted) + BOX_WEIGHT * box_loss(outputs, wanted)


def heat_loss(logits: Tensor, wanted: CellTargets) -> Tensor:
    """Return the focal loss of Law & Deng, *CornerNet* (2018), per object.

    Cells near a centre count little when they answer too high: (1 - heat)^4.
    """
    probability = logits.sigmoid()
    peak = wanted.heat == 1
    at_peaks = (1 - probability).square() * F.softplus(-logits)  # softplus(-x) = -log p
    elsewhere = (1 - wanted.heat).pow(4) * probability.square() * F.softplus(logits)
    losses = peak * at_peaks + ~peak * elsewhere  # (B, k, h, w)
    return (losses * wanted.counted).sum() / peak.sum().clamp(min=1)


def box_loss(outputs: Tensor, wanted: CellTargets) -> Tensor:
    """Return the weighted mean of 1 - GIoU over the cells that learn a box; 0 when there is none."""
    learning = wanted.weights > 0  # (B, h, w)
    given = boxes_of(outputs[:, -4:])[learning]  # (n, 4)
    weights = wanted.weights[learning]
    losses = 1 - generalized_iou(given, wanted.boxes[learning])
    return (losses * weights).sum() / weights.sum().clamp(min=1)


LEAST_SCORE, MOST = 0.02, 100
"""What counts as found; answers that are less sure hardly change the mean."""


class DetectionMeter:
    """Gathers true and found boxes, and computes the mean over the classes of the average precision at IoU 0.5."""

    def __init__(self, class_count: int) -> None:
        self.class_count = class_count
        self.images: list[dict[str, Any]] = []
        self.truth: list[dict[str, Any]] = []
        self.found: list[dict[str, Any]] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, k + 4, h, w) and targets (B, M, 5)."""
        width, height = outputs.shape[3] * CELL, outputs.shape[2] * CELL
        sizes = torch.tensor([[width, height]]).expand(len(outputs), 2)
        found = found_objects(outputs.cpu(), sizes, LEAST_SCORE, MOST)
        for own, (boxes, scores, classes) in zip(targets.cpu(), found, strict=True):
            image = len(self.images) + 1
            self.images.append({"id": image, "width": width, "height": height})
            self._add_truth(image, own[(own[:, 0] >= 0) | (own[:, 0] == CROWD)])
            for box, score, index in zip(_corner_and_size(boxes), scores.tolist(), classes.tolist(), strict=True):
                self.found.append({"image_id": image, "category_id": index + 1, "bbox": box, "score": score})

    def _add_truth(self, image: int, rows: Tensor) -> None:
        """Take in the objects of an image; a crowd region is one of every class."""
        for box, index in zip(_corner_and_size(rows[:, 1:]), rows[:, 0].long().tolist(), strict=True):
            classes = [index] if index >= 0 else list(range(self.class_count))
            for each in classes:
                self.truth.append(
                    {
                        "id": len(self.truth) + 1,
                        "image_id": image,
                        "category_id": each + 1,
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": int(index == CROWD),
                    }
                )

    def values(self) -> dict[str, float]:
        """Return ``map50``, 0 to 1; 0 when nothing was found, or there was nothing to find."""
        if not self.found or not any(not each["iscrowd"] for each in self.truth):
            return {"map50": 0.0}
        precision = self._precision()  # (thresholds, recalls, classes, areas, limits), -1 for classes without objects
        known = precision[precision > -1]
        return {"map50": float(known.mean()) if known.size else 0.0}

    def _precision(self) -> "np.ndarray[Any, np.dtype[np.float64]]":
        from faster_coco_eval import COCO, COCOeval_faster

        categories = [{"id": index + 1, "name": str(index)} for index in range(self.class_count)]
        truth = COCO({"images": self.images, "annotations": self.truth, "categories": categories})
        evaluation = COCOeval_faster(truth, truth.loadRes(self.found), "bbox", print_function=lambda *_: None)
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
        return np.asarray(evaluation.eval["precision"], np.float64)


def _corner_and_size(boxes: Tensor) -> list[list[float]]:
    """Return boxes (n, 4) as COCO writes them: left, top, width, height."""
    rows: list[list[float]] = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).tolist()
    return rows
