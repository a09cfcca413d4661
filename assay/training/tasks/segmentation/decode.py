"""From the U-Net's outputs to the classes of pixels, and the running metric that chooses the center threshold.

Belongs here: decoding outputs. Does not belong here: files, the metrics of the analysis (``assay.metrics``).

The U-Net predicts for each cell of 4x4 pixels the class of its foreground, and for each pixel whether it is foreground.
A pixel is background with probability 1 - p, and of class c with p times the probability of c, interpolated between
cells. Most pixels are background, so that their classes need not be computed: that saves four fifths of the time.

Parts of a background that look like a part of an object, such as the rim of a coin, have no object's center near them
that is probable. So a pixel is foreground only where a center near it reaches the center threshold. In large regions
most pixels are far from the center, and a threshold would remove them. So the threshold is chosen on the validation
data, for each epoch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.training.models.detector import CELL
from assay.training.models.unet import CellOutputs, cell_outputs, highest_around

PIXELS_AT_ONCE = 1 << 17
"""Pixels whose classes are computed at once; memory grows with it."""

CENTER_REACH = 6
"""Cells in each direction within which a foreground pixel needs a center."""

Places = tuple[Tensor, Tensor, Tensor]
"""Index of the image, row and column of each pixel: (n,) int64 each."""


def class_map(outputs: Tensor, class_count: int, width: int, height: int, center_threshold: float = 0.0) -> Tensor:
    """Return the most probable class of every pixel of one image: uint8 (height, width), 0 for the background.

    Args:
        outputs: Outputs of the network for one padded image, see ``predicted_classes``.
        class_count: k.
        width: Width of the image in pixels, without padding.
        height: Height of the image in pixels, without padding.
        center_threshold: Least probability of a center near a foreground pixel.
    """
    return predicted_classes(outputs, class_count, center_threshold)[0, :height, :width]


def predicted_classes(
    outputs: Tensor, class_count: int, center_threshold: float = 0.0, at_once: int = PIXELS_AT_ONCE
) -> Tensor:
    """Return the most probable class of every pixel: uint8 (B, H, W), 0 for the background.

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) of ``Unet``, or (B, 1 + k, H, W) logits of another network.
        class_count: k.
        center_threshold: Least probability of a center near a foreground pixel; only for ``Unet``.
        at_once: Pixels whose classes are looked up at once.
    """
    if not predicts_centers(outputs, class_count):
        return outputs.argmax(1).to(torch.uint8)
    cells = cell_outputs(outputs)
    predicted = torch.zeros(cells.foreground.shape, dtype=torch.uint8, device=outputs.device)
    # The background is more probable than any class where less than half is left for all classes together.
    possible = cells.foreground > 0
    if center_threshold > 0:
        possible &= per_pixel(heat_around(cells.centers) >= center_threshold)
    for places in _parts(possible, at_once):
        share, best = class_logits(cells, places).log_softmax(1).max(1)
        predicted[places] = torch.where(cells.foreground[places] + share > 0, best + 1, 0).to(torch.uint8)
    return predicted


def predicts_centers(outputs: Tensor, class_count: int) -> bool:
    """Return whether outputs are of a network that predicts centers, such as ``Unet``."""
    return outputs.shape[1] != 1 + class_count


def heat_around(centers: Tensor) -> Tensor:
    """Return the highest probability of a center of any class near each cell: (B, k, h, w) logits -> (B, h, w)."""
    return highest_around(centers.amax(1, keepdim=True), CENTER_REACH)[:, 0].sigmoid()


def per_pixel(cells: Tensor) -> Tensor:
    """Return the value of each pixel's cell: (B, h, w) -> (B, 4h, 4w)."""
    return cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)


def nll(cells: CellOutputs, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood of the true classes, summed over all pixels.

    Args:
        cells: Outputs of the network.
        targets: uint8 (B, H, W): 0 background, 1..k classes, anything above for pixels that are ignored.
    """
    total = torch.nn.functional.softplus(cells.foreground[targets == 0]).sum()
    for places in _parts((targets > 0) & (targets <= cells.classes.shape[1])):
        shares = class_logits(cells, places).log_softmax(1)
        true = shares.gather(1, targets[places].long()[:, None] - 1)
        total = total + torch.nn.functional.softplus(-cells.foreground[places]).sum() - true.sum()
    return total


def class_logits(cells: CellOutputs, places: Places) -> Tensor:
    """Return the logits of the classes (n, k) at some pixels, interpolated linearly between the centers of cells.

    They equal those of ``torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)``.
    """
    images, *pixels = places
    ends = []
    for pixel, count in zip(pixels, cells.classes.shape[2:], strict=True):
        at = ((pixel + 0.5) / CELL - 0.5).clamp(min=0)
        first = at.long()
        ends.append((first, (first + 1).clamp(max=count - 1), (at - first)[:, None]))
    (top, bottom, down), (left, right, across) = ends
    logits = cells.classes.movedim(1, -1)  # (B, H/4, W/4, k)
    above = torch.lerp(logits[images, top, left], logits[images, top, right], across)
    below = torch.lerp(logits[images, bottom, left], logits[images, bottom, right], across)
    return torch.lerp(above, below, down)


def _parts(chosen: Tensor, at_once: int = PIXELS_AT_ONCE) -> Iterator[Places]:
    """Yield the places where a mask (B, H, W) is true, in parts."""
    for part in torch.split(chosen.nonzero(), at_once):
        images, rows, columns = part.unbind(1)
        yield images, rows, columns


CENTER_THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Center thresholds to choose from; 0 is none."""


def highest_threshold(outputs: Tensor) -> Tensor:
    """Return the index of the highest center threshold at which each pixel may be foreground: uint8 (B, H, W).

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) of ``Unet``.
    """
    heat = heat_around(cell_outputs(outputs).centers)
    thresholds = torch.tensor(CENTER_THRESHOLDS, device=heat.device)
    return per_pixel((torch.bucketize(heat, thresholds, right=True) - 1).to(torch.uint8))


def confusion_by_threshold(predicted: Tensor, targets: Tensor, highest: Tensor, class_count: int) -> Tensor:
    """Return the confusion matrix at each center threshold: int64 (thresholds, 1 + k, 1 + k).

    Args:
        predicted: uint8 (B, H, W): 0 background, 1..k classes, predicted without a threshold.
        targets: uint8 (B, H, W): the same, 255 unknown.
        highest: uint8 (B, H, W), from ``highest_threshold``.
        class_count: k.
    """
    side, values = 1 + class_count, 1 + IGNORED
    triples = (highest.int() * values + targets) * side + predicted
    counts = torch.bincount(triples.flatten(), minlength=len(CENTER_THRESHOLDS) * values * side)
    return accumulated(counts.view(len(CENTER_THRESHOLDS), values, side)[:, :side])  # without unknown pixels


def accumulated(counts: Tensor) -> Tensor:
    """Return the confusion matrix at each threshold from counts of pixels by their highest threshold.

    At a threshold, pixels with a lower highest threshold are background.
    """
    confusion = counts.flip(0).cumsum(0).flip(0)
    hidden = (counts.cumsum(0) - counts).sum(2)
    confusion[:, :, 0] += hidden
    return confusion


CENTER_THRESHOLD = "least_middle"
"""Name under which metrics and history hold the center threshold with the best mean IoU."""


class SegmentationRunningMetric:
    """Confusion matrix of all pixels whose class is known, at each center threshold."""

    def __init__(self, class_count: int) -> None:
        """Start without pixels; ``class_count`` is k, without the background."""
        self.class_count = class_count
        self.counts: Tensor | int = 0  # (thresholds, true, predicted); a single threshold for networks without centers

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch: outputs, see ``predicted_classes``, and targets uint8 (B, H, W)."""
        predicted = predicted_classes(outputs, self.class_count)
        if predicts_centers(outputs, self.class_count):
            counts = confusion_by_threshold(predicted, targets, highest_threshold(outputs), self.class_count)
        else:
            counts = confusion(predicted, targets, self.class_count)[None]
        self.counts = self.counts + counts.cpu()

    def values(self) -> dict[str, float]:
        """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

        For networks that predict centers, these are the values at the center threshold with the best mean IoU, the
        lowest among equals; it is returned as ``least_middle``.
        """
        if isinstance(self.counts, int):
            return iou_of(torch.zeros(2, 2))
        ious = [iou_of(each) for each in self.counts]
        best = max(range(len(ious)), key=lambda place: (ious[place]["mean_iou"], -place))
        return ious[best] if len(ious) == 1 else {**ious[best], CENTER_THRESHOLD: CENTER_THRESHOLDS[best]}


def confusion(predicted: Tensor, targets: Tensor, class_count: int) -> Tensor:
    """Return the confusion matrix of pixels, true class by predicted class: int64 (1 + k, 1 + k).

    Args:
        predicted: uint8 (B, H, W): 0 background, 1..k classes.
        targets: uint8 (B, H, W): the same, 255 unknown.
        class_count: k.
    """
    side = 1 + class_count
    pairs = targets.int() * side + predicted  # unknown pixels come last, and are cut off
    return torch.bincount(pairs.flatten(), minlength=side**2)[: side**2].view(side, side)


def iou_of(counts: Tensor) -> dict[str, float]:
    """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

    The background is not a class. The foreground is everything but the background, whatever its class.

    Args:
        counts: (1 + k, 1 + k) pixels per true and predicted class.
    """
    hits = counts.diag()[1:]
    union = (counts.sum(0) + counts.sum(1))[1:] - hits
    occurs = union > 0
    foreground = int(counts.sum() - counts[0, 0])
    return {
        "mean_iou": (hits[occurs] / union[occurs]).mean().item() if occurs.any() else 0.0,
        "foreground_iou": int(counts[1:, 1:].sum()) / foreground if foreground else 0.0,
    }
