"""Losses: functions of the network's outputs and the targets, chosen by the spec.

Belongs here: what is made small. Does not belong here: class weights (``class_weights``), metrics for people.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.learning.class_weights import class_weights, label_weights
from assay.learning.focal import focal_labels_loss, focal_loss
from assay.spec.learner import Learner
from assay.spec.trained_model import TrainedModelSection
from assay.training.interfaces import Loss
from assay.training.targets import ClassTarget, LabelsTarget, Target


def training_loss(section: TrainedModelSection, target: Target, targets: Tensor) -> Loss:
    """Return the loss that the optimizer makes small.

    Args:
        section: Resolved: its loss is not null.
        target: What is learned.
        targets: Encoded training targets, (n,) or (n, k), for class frequencies.
    """
    learner = section.learner
    smoothing = learner.label_smoothing or 0.0
    if isinstance(target, ClassTarget):
        weights = class_weights(section, target.classes, targets.bincount(minlength=target.output_count))
        if learner.loss == "focal":
            return focal_loss(weights, smoothing, learner.focal_gamma)
        return classes_loss(weights, smoothing)
    if isinstance(target, LabelsTarget):
        sides = label_weights(section, target.classes, targets)
        if learner.loss == "focal":
            return focal_labels_loss(sides, smoothing, learner.focal_gamma, learner.focal_alpha)
        return labels_loss(sides, smoothing)
    return number_loss(learner)


def plain_loss(learner: Learner, target: Target) -> Loss:
    """Return the loss by which epochs are compared: without weights and smoothing, which only help to learn."""
    if isinstance(target, ClassTarget):
        return F.cross_entropy
    return F.binary_cross_entropy_with_logits if isinstance(target, LabelsTarget) else number_loss(learner)


def classes_loss(weights: Tensor | None, smoothing: float) -> Loss:
    """Return the cross-entropy of one class per item; outputs are (B, k), targets (B,).

    Args:
        weights: (k,) weight of each class; None for 1.
        smoothing: Probability spread evenly over all classes.
    """

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        scale = None if weights is None else weights.to(outputs)
        return F.cross_entropy(outputs, wanted, scale, label_smoothing=smoothing)

    return loss


def labels_loss(weights: Tensor, smoothing: float) -> Loss:
    """Return the binary cross-entropy of several labels; outputs and targets are (B, k).

    Args:
        weights: (2, k) weight of each class in items without it and with it.
        smoothing: Distance of the targets from 0 and 1, twice: both are drawn towards 1/2.
    """

    def loss(outputs: Tensor, wanted: Tensor) -> Tensor:
        soft, scale = wanted * (1 - smoothing) + smoothing / 2, weights.to(outputs)
        return F.binary_cross_entropy_with_logits(outputs, soft, torch.where(wanted > 0, scale[1], scale[0]))

    return loss


def number_loss(learner: Learner) -> Loss:
    """Return the loss of a standardized number; outputs are (B, 1), targets (B,)."""
    if learner.loss == "mse":
        return lambda outputs, wanted: F.mse_loss(outputs[:, 0], wanted)
    # Huber 1964, divided by beta: |e| - beta/2 beyond beta, e²/(2 beta) within; continuous for every beta.
    return lambda outputs, wanted: F.smooth_l1_loss(outputs[:, 0], wanted, beta=learner.smooth_l1_beta)
