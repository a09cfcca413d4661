"""From the detector's outputs to boxes with classes and scores.

Belongs here: reading outputs. Does not belong here: what they should be (``targets``), comparing them with the truth.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from assay.learning.detection.boxes import area, clip
from assay.learning.detection.nms import averaged_with_similar, best_of_overlapping
from assay.learning.detection.targets import cell_middles

CANDIDATES = 1000
"""Most answers of an image that are looked at, the surest ones; an object gives about a dozen."""

MOST_OVERLAP = 0.5
"""IoU above which two boxes of one class mean the same object."""

SIMILAR = 0.8
"""IoU above which boxes of one class are averaged."""


class Found(NamedTuple):
    """What was found in one image, from the surest to the least sure.

    Attributes:
        boxes: (n, 4): left, top, right, bottom in pixels of the network's input.
        scores: (n,): 0 to 1.
        classes: (n,) int64: class indices.
    """

    boxes: Tensor
    scores: Tensor
    classes: Tensor


def boxes_of(distances: Tensor) -> Tensor:
    """Return the box that each cell gives: (B, 4, h, w) distances -> (B, h, w, 4) edges, in pixels."""
    x, y = cell_middles(distances.shape[2], distances.shape[3], distances.device)
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y[:, None] - top, x + right, y[:, None] + bottom], -1)


def found_objects(
    outputs: Tensor, sizes: Tensor, least_score: float, most: int, most_overlap: float = MOST_OVERLAP
) -> list[Found]:
    """Return what was found in each image of a batch.

    Args:
        outputs: (B, k + 4, h, w) as ``Detector`` gives them, float32.
        sizes: (B, 2) width and height of the images in pixels, without padding; boxes end there.
        least_score: Answers below are left out, 0 to 1.
        most: Objects per image.
        most_overlap: IoU above which two boxes of one class mean the same object, and the surer stays.
    """
    boxes, scores, classes = _likely(outputs, least_score)
    boxes = clip(boxes, sizes[:, :1], sizes[:, 1:])  # (B, N, 4)
    scores = torch.where(area(boxes) > 0, scores, -torch.inf)  # what lies in the padding is nothing
    boxes = averaged_with_similar(boxes, scores, classes, SIMILAR)
    stays = best_of_overlapping(boxes, scores, classes, most_overlap)
    rows = zip(boxes, scores, classes, stays, strict=True)
    return [Found(*(part[keep][:most] for part in parts)) for *parts, keep in rows]


def _likely(outputs: Tensor, least_score: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the likeliest answers of each image: boxes (B, N, 4), scores (B, N) and classes (B, N), best first.

    N is the number that some image has; in the others, places without an answer have a score of minus infinity.
    """
    class_count, cells = outputs.shape[1] - 4, outputs.shape[2] * outputs.shape[3]
    scores, places = outputs[:, :class_count].flatten(1).sigmoid().topk(min(CANDIDATES, class_count * cells), 1)
    scores = torch.where(scores >= least_score, scores, -torch.inf)
    count = int((scores > -torch.inf).sum(1).max())
    scores, places = scores[:, :count], places[:, :count]
    boxes = torch.take_along_dim(boxes_of(outputs[:, -4:]).flatten(1, 2), (places % cells)[..., None], 1)
    return boxes, scores, places // cells
