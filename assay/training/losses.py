"""Losses of items, chosen by the spec, and class weights.

Belongs here: losses for classes, labels and numbers. Does not belong here: losses of whole images (the tasks), metrics.

The focal loss follows Lin et al., *Focal Loss for Dense Object Detection* (2017): items that are predicted well have a
lower weight.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from assay.errors import DataError
from assay.spec.classes import did_you_mean
from assay.spec.trained_model import Learner, TrainedModelSection
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.interfaces import Loss
from assay.training.targets import ItemTarget

LEAST = 1e-6
"""Least value of 1 - p in the focal factor, so that the gradient stays finite for every gamma; and of the weights of a
batch, which may hold only items of classes with weight 0."""


def training_loss(section: TrainedModelSection, target: ItemTarget, targets: Tensor) -> Loss:
    """Return the loss that the optimizer minimizes.

    Args:
        section: Resolved section, whose loss is not null.
        target: What the model predicts.
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


def plain_loss(section: TrainedModelSection, target: ItemTarget, targets: Tensor) -> Loss:
    """Return the loss by which epochs are compared: with the class weights, without label smoothing and focus.

    Without the weights, the epoch would be chosen for the frequent classes by a network that is trained for all.

    Args:
        section: Resolved section.
        target: What the model predicts.
        targets: Encoded training targets, (n,) or (n, k), for class frequencies.
    """
    if isinstance(target, ClassTarget):
        weights = class_weights(section, target.classes, targets.bincount(minlength=target.output_count))
        return F.cross_entropy if weights is None else partial(_mean_of_weighted, weights)
    if isinstance(target, LabelsTarget):
        if not section.weighs_classes:
            return F.binary_cross_entropy_with_logits
        return labels_loss(label_weights(section, target.classes, targets), 0.0)
    return number_loss(section.learner)


def _mean_of_weighted(weights: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the weighted cross-entropies per item, so that the mean over batches is that over items."""
    each = F.cross_entropy(outputs, targets, reduction="none")
    return (weights.to(outputs)[targets] * each).mean()


def classes_loss(weights: Tensor | None, smoothing: float) -> Loss:
    """Return the cross-entropy of one class per item; outputs are (B, k), targets (B,).

    An item counts with the weight of its own class. (``F.cross_entropy`` gives the smoothed part of a frequent class's
    item the weight of the rare class, so that the rare class is predicted nearly everywhere.)

    Args:
        weights: (k,) weight of each class; None for 1.
        smoothing: Probability spread evenly over all classes.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if weights is None:
            return F.cross_entropy(outputs, targets, label_smoothing=smoothing)
        scale = weights.to(outputs)[targets]
        each = F.cross_entropy(outputs, targets, label_smoothing=smoothing, reduction="none")
        return (scale * each).sum() / scale.sum().clamp(min=LEAST)

    return loss


def labels_loss(weights: Tensor, smoothing: float) -> Loss:
    """Return the binary cross-entropy of several labels; outputs and targets are (B, k).

    Args:
        weights: (2, k) weight of each class in items without it and with it.
        smoothing: Label smoothing: targets become smoothing / 2 and 1 - smoothing / 2.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        soft, scale = targets * (1 - smoothing) + smoothing / 2, weights.to(outputs)
        return F.binary_cross_entropy_with_logits(outputs, soft, torch.where(targets > 0, scale[1], scale[0]))

    return loss


def number_loss(learner: Learner) -> Loss:
    """Return the loss of a standardized number; outputs are (B, 1), targets (B,)."""
    if learner.loss == "mse":
        return lambda outputs, targets: F.mse_loss(outputs[:, 0], targets)
    # Huber 1964, divided by beta: |e| - beta/2 beyond beta, e²/(2 beta) within; continuous for every beta.
    return lambda outputs, targets: F.smooth_l1_loss(outputs[:, 0], targets, beta=learner.smooth_l1_beta)


def focal_loss(weights: Tensor | None, smoothing: float, gamma: float) -> Loss:
    """Return the focal loss of one class per item; with ``gamma`` 0 it is the cross-entropy.

    Args:
        weights: (k,) weight of each class; None for 1.
        smoothing: Probability spread evenly over all classes.
        gamma: How fast the weight of items falls as their prediction improves.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        count = outputs.shape[1]
        scale = (torch.ones(count) if weights is None else weights).to(outputs)[targets]  # (B,)
        soft = F.one_hot(targets, count) * (1 - smoothing) + smoothing / count  # (B, k)
        logs = outputs.log_softmax(1)
        focus = (1 - logs.exp()).clamp(min=LEAST) ** gamma
        return -(scale[:, None] * soft * focus * logs).sum() / scale.sum().clamp(min=LEAST)

    return loss


def focal_labels_loss(weights: Tensor, smoothing: float, gamma: float, alpha: float | None) -> Loss:
    """Return the focal loss of several classes per item; outputs and targets are (B, k).

    Args:
        weights: (2, k) weight of each class in items without it and with it.
        smoothing: Label smoothing: targets become smoothing / 2 and 1 - smoothing / 2.
        gamma: How fast the weight of items falls as their prediction improves.
        alpha: Weight of items with a class, 1 - alpha of those without; None for 1 each.
    """
    sides = torch.ones(2, 1) if alpha is None else torch.tensor([[1 - alpha], [alpha]])

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        scale = (weights * sides).to(outputs)
        soft = targets * (1 - smoothing) + smoothing / 2
        right = torch.where(targets > 0, outputs, -outputs).sigmoid()
        focus = (1 - right).clamp(min=LEAST) ** gamma
        each = F.binary_cross_entropy_with_logits(outputs, soft, reduction="none")
        return (torch.where(targets > 0, scale[1], scale[0]) * focus * each).mean()

    return loss


def class_weights(section: TrainedModelSection, classes: Sequence[str], counts: Tensor) -> Tensor | None:
    """Return the weight of each class (k,), or None when all have the same.

    The product of ``learner.class_weights`` and of the weights in ``data_description.classes``.

    Args:
        section: The spec.
        classes: Names, in the order of the outputs.
        counts: (k,) how often each occurs in the training data, for ``balanced``.

    Raises:
        DataError: A weight is given to a class that does not exist, or all are 0.
    """
    spec, described = section.learner.class_weights, described_weights(section, classes)
    if spec is None and bool((described == 1).all()):
        return None
    return described * _learner_weights(spec, classes, counts)


def described_weights(section: TrainedModelSection, classes: Sequence[str]) -> Tensor:
    """Return the weight of each class in data_description.classes (k,); 1 for classes without one."""
    weights = {each.name: each.weight for each in section.data_description.classes or ()}
    return torch.tensor([weights.get(name, 1.0) for name in classes])


def _learner_weights(spec: dict[str, float] | str | None, classes: Sequence[str], counts: Tensor) -> Tensor:
    if spec is None:
        return torch.ones(len(classes))
    if isinstance(spec, str):
        return counts.sum() / (len(classes) * counts.clamp(min=1)).float()
    if unknown := sorted(set(spec) - set(classes)):
        problems = [f"{name}{did_you_mean(name, classes)}" for name in unknown]
        known = ", ".join(classes)
        raise DataError(f"learner.class_weights names classes that do not exist; there are {known}.", problems)
    weights = torch.tensor([float(spec.get(name, 1.0)) for name in classes])
    if not weights.any():
        raise DataError("learner.class_weights: every class has weight 0; there is nothing to learn.")
    return weights


def label_weights(section: TrainedModelSection, classes: Sequence[str], has: Tensor) -> Tensor:
    """Return the weight of each class in items without it and with it: (2, k), with mean 1 over the items.

    ``balanced`` gives items with and without a class the same total weight.

    Args:
        section: The spec.
        classes: Names, in the order of the outputs.
        has: (n, k) of 0 and 1: which classes the training items have.

    Raises:
        DataError: A weight is given to a class that does not exist, or all are 0.
    """
    spec, having = section.learner.class_weights, has.sum(0)
    shares = torch.stack([len(has) - having, having]) / len(has)
    balance = 0.5 / shares.clamp(min=1 / len(has)) if spec == "balanced" else torch.ones_like(shares)
    each = described_weights(section, classes)
    if isinstance(spec, dict):
        each = each * _learner_weights(spec, classes, having)
    return balance * each / each.mean()
