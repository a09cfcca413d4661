"""From the network's outputs to the classes of pixels.

Belongs here: reading outputs. Does not belong here: files, comparing maps with the truth.

The U-Net says of each cell of 4x4 pixels which class it would be, and of each pixel whether it shows anything. A pixel
is of the background with probability 1 - p, and of class c with p times the share of c, in between cells a mean of
them. Most pixels show nothing, whose classes need not be asked for: that is four fifths of the time saved. Nor may a
pixel show anything where no middle of an object near it is probable enough (``sureness`` says why).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.training.models.detector import CELL
from assay.training.models.unet import CellAnswers, cell_answers, highest_around

AT_ONCE = 1 << 17
"""Pixels whose classes are looked up at once; memory grows with them."""

SURE_REACH = 6
"""Cells in each direction in which there must be a middle for a pixel to show anything."""

Places = tuple[Tensor, Tensor, Tensor]
"""Index of the image, row and column of each pixel: (n,) int64 each."""


def class_map(outputs: Tensor, class_count: int, width: int, height: int, least_middle: float = 0.0) -> Tensor:
    """Return the most probable class of every pixel of one image: uint8 (height, width), 0 for the background.

    Args:
        outputs: Of the network for one padded image, as ``named_pixels`` takes them.
        class_count: k.
        width: Of the image in pixels, without padding.
        height: Likewise.
        least_middle: Probability of a middle near a pixel without which it shows nothing.
    """
    return named_pixels(outputs, class_count, least_middle)[0, :height, :width]


def named_pixels(outputs: Tensor, class_count: int, least_middle: float = 0.0, at_once: int = AT_ONCE) -> Tensor:
    """Return the most probable class of every pixel: uint8 (B, H, W), 0 for the background.

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) as ``Unet`` gives them, or (B, 1 + k, H, W) logits of another network.
        class_count: k.
        least_middle: Probability of a middle near a pixel without which it shows nothing; of ``Unet`` only.
        at_once: Pixels whose classes are looked up at once.
    """
    if not has_middles(outputs, class_count):
        return outputs.argmax(1).to(torch.uint8)
    answers = cell_answers(outputs)
    named = torch.zeros(answers.shown.shape, dtype=torch.uint8, device=outputs.device)
    # Nothing is more probable than a class where less than half is left for all classes together.
    possible = answers.shown > 0
    if least_middle > 0:
        possible &= enlarged(heat_around(answers.middles) >= least_middle)
    for places in _parts(possible, at_once):
        share, best = class_logits(answers, places).log_softmax(1).max(1)
        named[places] = torch.where(answers.shown[places] + share > 0, best + 1, 0).to(torch.uint8)
    return named


def has_middles(outputs: Tensor, class_count: int) -> bool:
    """Return whether outputs are those of a network that looks for middles."""
    return outputs.shape[1] != 1 + class_count


def heat_around(middles: Tensor) -> Tensor:
    """Return the highest probability of a middle of any class near each cell: (B, k, h, w) logits -> (B, h, w)."""
    return highest_around(middles.amax(1, keepdim=True), SURE_REACH)[:, 0].sigmoid()


def enlarged(cells: Tensor) -> Tensor:
    """Return the value of each pixel's cell: (B, h, w) -> (B, 4h, 4w)."""
    return cells.repeat_interleave(CELL, 1).repeat_interleave(CELL, 2)


def surprise(answers: CellAnswers, wanted: Tensor) -> Tensor:
    """Return the sum over all pixels of minus the logarithm of the probability of their true class.

    Args:
        answers: Of the network.
        wanted: uint8 (B, H, W): 0 background, 1..k classes, anything above for pixels that don't count.
    """
    nothing = torch.nn.functional.softplus(answers.shown[wanted == 0]).sum()
    for places in _parts((wanted > 0) & (wanted <= answers.classes.shape[1])):
        shares = class_logits(answers, places).log_softmax(1)
        true = shares.gather(1, wanted[places].long()[:, None] - 1)
        nothing = nothing + torch.nn.functional.softplus(-answers.shown[places]).sum() - true.sum()
    return nothing


def class_logits(answers: CellAnswers, places: Places) -> Tensor:
    """Return the logits of the classes (n, k) at some pixels, linear between the middles of cells.

    They equal those of ``torch.nn.functional.interpolate(..., mode="bilinear", align_corners=False)``.
    """
    images, *pixels = places
    ends = []
    for pixel, count in zip(pixels, answers.classes.shape[2:], strict=True):
        at = ((pixel + 0.5) / CELL - 0.5).clamp(min=0)
        first = at.long()
        ends.append((first, (first + 1).clamp(max=count - 1), (at - first)[:, None]))
    (top, bottom, down), (left, right, across) = ends
    cells = answers.classes.movedim(1, -1)  # (B, H/4, W/4, k)
    above = torch.lerp(cells[images, top, left], cells[images, top, right], across)
    below = torch.lerp(cells[images, bottom, left], cells[images, bottom, right], across)
    return torch.lerp(above, below, down)


def _parts(which: Tensor, at_once: int = AT_ONCE) -> Iterator[Places]:
    """Yield where a mask (B, H, W) is true, in parts."""
    for part in torch.split(which.nonzero(), at_once):
        images, rows, columns = part.unbind(1)
        yield images, rows, columns


CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities to choose from; 0 asks for no middle."""


def highest_choice(outputs: Tensor) -> Tensor:
    """Return the index of the highest choice at which each pixel may show anything: uint8 (B, H, W).

    Args:
        outputs: (B, 16 + 2k, H/4, W/4) as ``Unet`` gives them.
    """
    heat = heat_around(cell_answers(outputs).middles)
    choices = torch.tensor(CHOICES, device=heat.device)
    return enlarged((torch.bucketize(heat, choices, right=True) - 1).to(torch.uint8))


def counted_by_choice(named: Tensor, wanted: Tensor, highest: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each true class are taken for each class, at each choice: (choices, 1 + k, 1 + k).

    Args:
        named: uint8 (B, H, W): 0 background, 1..k classes.
        wanted: uint8 (B, H, W): the same, 255 unknown.
        highest: uint8 (B, H, W): index of the highest choice at which a pixel may show anything.
        class_count: k.
    """
    side, values = 1 + class_count, 1 + IGNORED
    triples = (highest.int() * values + wanted) * side + named
    counts = torch.bincount(triples.flatten(), minlength=len(CHOICES) * values * side)
    return with_less_shown(counts.view(len(CHOICES), values, side)[:, :side])  # without the unknown


def with_less_shown(counts: Tensor) -> Tensor:
    """Return what becomes of counts by highest choice when only those of one choice or a higher one show anything."""
    shown = counts.flip(0).cumsum(0).flip(0)
    hidden = (counts.cumsum(0) - counts).sum(2)
    shown[:, :, 0] += hidden
    return shown


LEAST_MIDDLE = "least_middle"
"""Name of the probability of a middle that gives the best mean IoU; zero asks for none."""


class SegmentationMeter:
    """Counts how often each class is taken for each other, over all pixels whose class is known."""

    def __init__(self, class_count: int) -> None:
        """Start from nothing; ``class_count`` is k, without the background."""
        self.class_count = class_count
        self.counts: Tensor | int = 0  # [choice, true, predicted]; one choice of networks without middles

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs as ``named_pixels`` takes them, and targets uint8 (B, H, W)."""
        named = named_pixels(outputs, self.class_count)
        if has_middles(outputs, self.class_count):
            counts = counted_by_choice(named, targets, highest_choice(outputs), self.class_count)
        else:
            counts = counted(named, targets, self.class_count)[None]
        self.counts = self.counts + counts.cpu()

    def values(self) -> dict[str, float]:
        """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

        Of networks that look for middles, they are those at the ``least_middle`` that gives the best mean IoU, the
        least of several equally good; it is returned too.
        """
        if isinstance(self.counts, int):
            return iou_of(torch.zeros(2, 2))
        ious = [iou_of(each) for each in self.counts]
        best = max(range(len(ious)), key=lambda place: (ious[place]["mean_iou"], -place))
        return ious[best] if len(ious) == 1 else {**ious[best], LEAST_MIDDLE: CHOICES[best]}


def counted(named: Tensor, targets: Tensor, class_count: int) -> Tensor:
    """Return how many pixels of each true class are taken for each class: int64 (1 + k, 1 + k).

    Args:
        named: uint8 (B, H, W): 0 background, 1..k classes.
        targets: uint8 (B, H, W): the same, 255 unknown.
        class_count: k.
    """
    side = 1 + class_count
    pairs = targets.int() * side + named  # unknown pixels come last, and are cut off
    return torch.bincount(pairs.flatten(), minlength=side**2)[: side**2].view(side, side)


def iou_of(counts: Tensor) -> dict[str, float]:
    """Return ``mean_iou`` over the classes that occur or are predicted, and ``foreground_iou``; 0 to 1.

    The background is no class. The foreground is all that is not background, whatever its class.

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
