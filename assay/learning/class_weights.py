"""How much each class counts in the loss.

Belongs here: weights from the spec and from how often classes occur. Does not belong here: losses.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from assay.errors import DataError
from assay.spec.class_description import did_you_mean
from assay.spec.trained_model import TrainedModelSection


def class_weights(section: TrainedModelSection, classes: Sequence[str], counts: Tensor) -> Tensor | None:
    """Return the weight of each class (k,), or None when all count the same.

    The product of ``learner.class_weights`` and of the weights in ``data_description.classes``.

    Args:
        section: The spec.
        classes: Names, in the order of the outputs.
        counts: (k,) how often each occurs in the training data, for ``balanced``.

    Raises:
        DataError: A weight is given to a class that does not exist, or all are 0.
    """
    wanted, described = section.learner.class_weights, described_weights(section, classes)
    if wanted is None and bool((described == 1).all()):
        return None
    return described * _learner_weights(wanted, classes, counts)


def described_weights(section: TrainedModelSection, classes: Sequence[str]) -> Tensor:
    """Return the weight that data_description.classes gives each class (k,); 1 for those left out."""
    weights = {each.name: each.weight for each in section.data_description.classes or ()}
    return torch.tensor([weights.get(name, 1.0) for name in classes])


def _learner_weights(wanted: dict[str, float] | str | None, classes: Sequence[str], counts: Tensor) -> Tensor:
    if wanted is None:
        return torch.ones(len(classes))
    if isinstance(wanted, str):
        return counts.sum() / (len(classes) * counts.clamp(min=1)).float()
    if unknown := sorted(set(wanted) - set(classes)):
        problems = [f"{name}{did_you_mean(name, classes)}" for name in unknown]
        known = ", ".join(classes)
        raise DataError(f"learner.class_weights names classes that do not exist; there are {known}.", problems)
    weights = torch.tensor([float(wanted.get(name, 1.0)) for name in classes])
    if not weights.any():
        raise DataError("learner.class_weights: every class has weight 0; there is nothing to learn.")
    return weights


def label_weights(section: TrainedModelSection, classes: Sequence[str], has: Tensor) -> Tensor:
    """Return the weight of each class in items without it and with it: (2, k), with the mean 1 over the items.

    ``balanced`` makes items with and without a class count the same, whatever their number.

    Args:
        section: The spec.
        classes: Names, in the order of the outputs.
        has: (n, k) of 0 and 1: which classes the training items have.

    Raises:
        DataError: A weight is given to a class that does not exist, or all are 0.
    """
    wanted, having = section.learner.class_weights, has.sum(0)
    shares = torch.stack([len(has) - having, having]) / len(has)
    balance = 0.5 / shares.clamp(min=1 / len(has)) if wanted == "balanced" else torch.ones_like(shares)
    each = described_weights(section, classes)
    if isinstance(wanted, dict):
        each = each * _learner_weights(wanted, classes, having)
    return balance * each / each.mean()
