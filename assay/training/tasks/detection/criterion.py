"""The detector's loss, a focal loss of the heat map and a GIoU loss of the boxes, and its running metrics.

Belongs here: weighing the deviation of outputs from targets. Does not belong here: the targets (``boxes``), the
metrics of the analysis (``assay.metrics.detection``).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from assay.metrics.box_matching import MAX_DETECTIONS, Boxes
from assay.metrics.detection import evaluate_coco
from assay.training.interfaces import CROWD
from assay.training.models.detector import CELL
from assay.training.tasks.detection.boxes import (
    MOST_OVERLAP,
    CellTargets,
    Detections,
    boxes_of,
    cell_targets,
    decode_detections,
    generalized_iou,
)
from assay.training.tasks.detection.pyramid import Pyramid, decode_pyramid

BOX_WEIGHT = 2.0
"""Weight of the box loss relative to the heat map loss."""


def detection_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch: a scalar, 0 or more.

    Args:
        outputs: (B, k + 4, h, w) of ``Detector``, float32.
        targets: (B, M, 5): class, left, top, right, bottom in pixels; class -1 for padding, -2 for crowd regions.
    """
    class_count = outputs.shape[1] - 4
    cells = cell_targets(targets, class_count, *outputs.shape[2:])
    return heat_loss(outputs[:, :class_count], cells) + BOX_WEIGHT * box_loss(outputs, cells)


def heat_loss(logits: Tensor, cells: CellTargets) -> Tensor:
    """Return the focal loss of Law & Deng, *CornerNet* (2018), per object.

    Predictions that are too high near a center have a low weight: (1 - heat)^4.
    """
    probability = logits.sigmoid()
    peak = cells.heat == 1
    at_peaks = (1 - probability).square() * F.softplus(-logits)  # softplus(-x) = -log p
    elsewhere = (1 - cells.heat).pow(4) * probability.square() * F.softplus(logits)
    losses = peak * at_peaks + ~peak * elsewhere  # (B, k, h, w)
    return (losses * cells.counted).sum() / peak.sum().clamp(min=1)


def box_loss(outputs: Tensor, cells: CellTargets) -> Tensor:
    """Return the weighted mean of 1 - GIoU over the cells with a box to learn; 0 when there is none."""
    learning = cells.weights > 0  # (B, h, w)
    predicted = boxes_of(outputs[:, -4:])[learning]  # (n, 4)
    weights = cells.weights[learning]
    losses = 1 - generalized_iou(predicted, cells.boxes[learning])
    return (losses * weights).sum() / weights.sum().clamp(min=1)


LEAST_SCORE = 0.02
"""Least score of the detections that are evaluated; lower ones hardly change the average precision."""


class DetectionRunningMetric:
    """Mean over the classes of the average precision at IoU 0.5."""

    def __init__(self, class_count: int) -> None:
        """Start without images; ``class_count`` is k."""
        self.class_count = class_count
        self.image_count = 0
        self.objects: list[Boxes] = []
        self.detections: list[Boxes] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch: outputs (B, k + 4, h, w) and targets (B, M, 5)."""
        detections = decode_detections(outputs.cpu(), _padded_sizes(outputs), LEAST_SCORE, MAX_DETECTIONS)
        for rows, found in zip(targets.cpu(), detections, strict=True):
            self._add_image(rows, found)

    def _add_image(self, rows: Tensor, found: Detections) -> None:
        self._add_objects(rows[rows[:, 0] >= 0], crowd=False)
        crowds = rows[rows[:, 0] == CROWD].repeat_interleave(self.class_count, 0)  # one of every class
        crowds[:, 0] = torch.arange(self.class_count).repeat(len(crowds) // self.class_count)
        self._add_objects(crowds, crowd=True)
        self.detections.append(_as_boxes(self.image_count, found.classes, found.boxes, found.scores))
        self.image_count += 1

    def _add_objects(self, rows: Tensor, crowd: bool) -> None:
        self.objects.append(_as_boxes(self.image_count, rows[:, 0], rows[:, 1:], torch.ones(len(rows)), crowd))

    def values(self) -> dict[str, float]:
        """Return ``map50``, 0 to 1; 0 without detections or without objects."""
        objects, detections = _joined(self.objects), _joined(self.detections)
        if not len(detections) or objects.crowd.all():
            return {"map50": 0.0}
        threshold = np.array([0.5])
        evaluation = evaluate_coco(detections, objects, self.class_count, self.image_count, threshold)
        known = evaluation["precision"][~np.isnan(evaluation["precision"])]  # NaN for classes without objects
        return {"map50": float(known.mean()) if known.size else 0.0}


class PyramidRunningMetric(DetectionRunningMetric):
    """The same for images that come as several pictures, all reductions of some images one after the other."""

    def __init__(self, class_count: int, boxes: Sequence[Tensor], pyramid: Pyramid) -> None:
        """Start without images.

        Args:
            class_count: k.
            boxes: All objects and crowd regions of each image (m, 5), in the order in which the images come.
            pyramid: The reductions.
        """
        super().__init__(class_count)
        self.boxes, self.pyramid = boxes, pyramid
        self.pictures: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one reduction of some images: outputs (B, k + 4, h, w); the targets are known already."""
        self.pictures.append(outputs.cpu())
        if len(self.pictures) < len(self.pyramid.reductions):
            return
        sizes = _padded_sizes(self.pictures[0])
        detections = decode_pyramid(
            self.pictures, sizes, self.pyramid, LEAST_SCORE, MAX_DETECTIONS, most_overlap=MOST_OVERLAP
        )
        for found in detections:
            self._add_image(self.boxes[self.image_count], found)
        self.pictures = []


def _padded_sizes(outputs: Tensor) -> Tensor:
    """Return width and height in pixels of each picture of a batch with its padding: int64 (B, 2)."""
    width, height = outputs.shape[3] * CELL, outputs.shape[2] * CELL
    return torch.tensor([[width, height]]).expand(len(outputs), 2)


def _as_boxes(image: int, classes: Tensor, edges: Tensor, scores: Tensor, crowd: bool = False) -> Boxes:
    """Return boxes of one image: classes (n,), edges (n, 4) and scores (n,)."""
    xywh = torch.cat([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1)
    count = len(classes)
    return Boxes(np.full(count, image), classes.long().numpy(), xywh.numpy(), scores.numpy(), np.full(count, crowd))


def _joined(parts: list[Boxes]) -> Boxes:
    if not parts:
        return _as_boxes(0, torch.zeros(0), torch.zeros(0, 4), torch.zeros(0))
    columns = ("image", "label", "xywh", "confidence", "crowd")
    return Boxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))
