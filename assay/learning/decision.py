"""From which probability on an item is said to have a class.

Belongs here: choosing thresholds on the validation data, after the training. Does not belong here: applying them
(``class_targets``).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from assay.training.class_targets import LabelsTarget
from assay.training.engine import forward
from assay.training.interfaces import PlainItems
from assay.training.model_card import ModelCard


@torch.no_grad()
def with_thresholds(
    card: ModelCard, network: nn.Module, weights: Mapping[str, Tensor], validation: PlainItems | None
) -> ModelCard:
    """Return the card with the thresholds that suit the weights; as it is, unless the spec asks for tuned ones.

    Args:
        card: Of the weights.
        network: Gets the weights; its mode is left at evaluation.
        weights: By name.
        validation: The items that choose.
    """
    target, section = card.target, card.section
    if not isinstance(target, LabelsTarget) or section.train_params.decision != "tuned" or validation is None:
        return card
    network.load_state_dict(weights)
    network.eval()
    size = section.data_validation.batch_size if section.data_validation else len(validation)
    bf16 = section.train_params.precision == "bf16"
    pairs = [(target.answers(forward(network, inputs, bf16)), wanted) for inputs, wanted in validation.batches(size)]
    thresholds = best_thresholds(*(torch.cat(parts).cpu() for parts in zip(*pairs, strict=True)))
    return card.model_copy(update={"target": target.model_copy(update={"thresholds": thresholds})})


def best_thresholds(probabilities: Tensor, has: Tensor) -> tuple[float, ...]:
    """Return, per class, the probability from which on F1 is best.

    Args:
        probabilities: (n, k).
        has: (n, k) of 0 and 1.

    Returns:
        Each half way between two neighbouring probabilities, the nearest to 0.5 of several equally good; 0.5 for
        classes that no item has, or all have.
    """
    return tuple(_best_threshold(column, truth) for column, truth in zip(probabilities.T, has.T, strict=True))


def _best_threshold(probabilities: Tensor, has: Tensor) -> float:
    if not has.any() or has.all():
        return 0.5
    values, order = probabilities.double().sort(descending=True)
    predicted = torch.arange(1, len(values) + 1)
    f1 = 2 * has[order].cumsum(0) / (predicted + has.sum())
    f1[:-1][values[:-1] == values[1:]] = -1  # equal probabilities are predicted together
    between = (values + torch.cat([values[1:], values.new_zeros(1)])) / 2
    best = (f1 >= f1.max() - 1e-9).nonzero()[:, 0]
    return float(between[best[(between[best] - 0.5).abs().argmin()]])
