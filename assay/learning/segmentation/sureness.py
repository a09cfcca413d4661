"""How sure a U-Net must be of an object's middle before it may show the object.

Places of a background that look like a part of an object, such as the rim of a coin, show no middle that convinces; the
whole object does. Of large regions, whose middles are far from most of their pixels, the opposite holds. So the
validation data choose, and may choose not to ask.

Belongs here: choosing, after the training. Does not belong here: applying it (``assay.learning.models.unet``).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from assay.learning.engine import forward
from assay.learning.lesson import Batch, PlainItems
from assay.learning.models.detector import CELL
from assay.learning.models.unet import Unet, heat_around, pixel_answers
from assay.learning.segmentation.meter import counted, iou_of
from assay.learning.state import Weights
from assay.spec.trained_model import TrainedModelSection

CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities to choose from; 0 asks for no middle."""


class NamedPixels(nn.Module):
    """A U-Net whose outputs are the class of each pixel and the probability of a middle nearby."""

    def __init__(self, network: Unet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, 2, H, W)."""
        shown, classes, middles = self.network.answers(images)
        named = pixel_answers(shown.float(), classes.float()).argmax(1, keepdim=True)
        return torch.cat([named.float(), F.interpolate(heat_around(middles), scale_factor=float(CELL))], 1)


def with_sureness(
    network: nn.Module, weights: Weights, section: TrainedModelSection, validation: PlainItems | None
) -> Weights:
    """Return the weights with the probability that gives the best mean IoU on the validation data.

    Args:
        network: Gets the weights; its mode is left at evaluation. Others than U-Nets are left alone.
        weights: By name.
        section: Resolved spec.
        validation: Whole images; None leaves the weights as they are.
    """
    if not isinstance(network, Unet) or validation is None or section.data_validation is None:
        return weights
    network.load_state_dict(weights)
    network.eval()
    batches = validation.batches(section.data_validation.batch_size)
    best = best_choice(network, batches, section.train_params.precision == "bf16")
    return {**weights, "least_middle": torch.tensor(best)}


@torch.no_grad()
def best_choice(network: Unet, batches: Iterable[Batch], bf16: bool) -> float:
    """Return which of ``CHOICES`` gives the best mean IoU; the least of several equally good."""
    named_pixels, class_count = NamedPixels(network).eval(), network.middles.out_channels
    counts = torch.zeros(len(CHOICES), 1 + class_count, 1 + class_count, dtype=torch.int64)
    for inputs, wanted in batches:
        named, heat = forward(named_pixels, inputs, bf16).cpu().unbind(1)
        for place, least in enumerate(CHOICES):
            counts[place] += counted(torch.where(heat >= least, named, 0.0).long(), wanted, class_count)
    return max(zip((iou_of(each)["mean_iou"] for each in counts), CHOICES, strict=True), key=lambda pair: pair[0])[1]
