"""Losses: functions of the network's outputs and the targets, chosen by the spec.

Belongs here: what is made small, and class weights. Does not belong here: metrics for people.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.errors import DataError
from assay.learning.lesson import Loss
from assay.learning.targets import ClassTarget, Target
from assay.spec.training import Learner


def training_loss(learner: Learner, target: Target, targets: Tensor) -> Loss:
    """Return the loss that the optimizer makes small.

    Args:
        learner: Resolved: its loss is not null.
        target: What is learned.
        targets: Encoded training targets (n,), for class frequencies.
    """
    if isinstance(target, ClassTarget):
        weights = class_weights(learner.class_weights, target.classes, targets)
        smoothing = learner.label_smoothing or 0.0
        return lambda outputs, wanted: F.cross_entropy(outputs, wanted, weights, label_smoothing=smoothing)
    return number_loss(learner)


def plain_loss(learner: Learner, target: Target) -> Loss:
    """Return the loss by which epochs are compared: without weights and smoothing, which only help to learn."""
    return F.cross_entropy if isinstance(target, ClassTarget) else number_loss(learner)


def number_loss(learner: Learner) -> Loss:
    """Return the loss of a standardized number; outputs are (B, 1), targets (B,)."""
    if learner.loss == "mse":
        return lambda outputs, wanted: F.mse_loss(outputs[:, 0], wanted)
    # Huber 1964, divided by beta: |e| - beta/2 beyond beta, e²/(2 beta) within; continuous for every beta.
    return lambda outputs, wanted: F.smooth_l1_loss(outputs[:, 0], wanted, beta=learner.smooth_l1_beta)


def class_weights(wanted: dict[str, float] | str | None, classes: tuple[str, ...], targets: Tensor) -> Tensor | None:
    """Return the weight of each class (k,), or None when all count the same.

    Args:
        wanted: Weights by class, ``balanced``, or None.
        classes: Names, in the order of the outputs.
        targets: Class indices of the training items (n,).

    Raises:
        DataError: A weight is given to a class that does not exist.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = torch.bincount(targets, minlength=len(classes))
        return len(targets) / (len(classes) * counts.clamp(min=1))
    unknown = sorted(set(wanted) - set(classes))
    if unknown:
        raise DataError(
            f"learner.class_weights names classes that do not exist; there are {', '.join(classes)}.", unknown
        )
    return torch.tensor([float(wanted.get(name, 1.0)) for name in classes])
