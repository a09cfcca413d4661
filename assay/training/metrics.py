"""What people read while a model trains: accuracy, or errors in the label's unit."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from assay.training.class_targets import LabelsTarget
from assay.training.engine import forward
from assay.training.interfaces import PlainItems
from assay.training.model_card import ModelCard
from assay.training.targets import NumberTarget, Target

LOWER_IS_BETTER = frozenset({"loss", "mae", "rmse"})

Score = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""``score(outputs, targets)``: values, one per item (B,), whose means are reported."""


def score_of(target: Target) -> Score:
    """Return the function that scores each item."""
    if isinstance(target, NumberTarget):
        return lambda outputs, wanted: number_errors(outputs[:, 0], wanted, target.std)
    return lambda outputs, wanted: {"accuracy": (outputs.argmax(1) == wanted).double()}


def number_errors(outputs: Tensor, wanted: Tensor, unit: float) -> dict[str, Tensor]:
    """Return absolute and squared errors; ``unit`` is what 1 means in label units."""
    error = (outputs - wanted).double() * unit
    return {"mae": error.abs(), "mse": error.square()}


def readable(values: dict[str, float]) -> dict[str, float]:
    """Return means with the root mean squared error, which has the label's unit, in place of its square."""
    if "mse" not in values:
        return values
    return {name: value for name, value in values.items() if name != "mse"} | {"rmse": math.sqrt(values["mse"])}


def is_better(metric: str, value: float, best: float | None, margin: float = 0.0) -> bool:
    """Return whether a value beats the best so far by more than a margin; equal values do not: the earliest stays."""
    if best is None:
        return True
    return value < best - margin if metric in LOWER_IS_BETTER else value > best + margin


def as_note(values: dict[str, float]) -> str:
    """Return values as a short text, such as ``loss 0.312 accuracy 0.984``."""
    return " ".join(f"{name} {value:.3f}" for name, value in values.items())


class LabelsMeter:
    """Macro F1, and the share of items all of whose classes are right, at the target's thresholds."""

    def __init__(self, target: LabelsTarget) -> None:
        self.target = target
        self.hits = torch.zeros(target.output_count)
        self.marked = torch.zeros(target.output_count)
        self.exact = self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take in one batch: outputs (B, k), targets (B, k) of 0 and 1."""
        predicted, wanted = self.target.decide(self.target.answers(outputs)).cpu(), targets.cpu() > 0
        self.hits += (predicted & wanted).sum(0)
        self.marked += predicted.sum(0) + wanted.sum(0)
        self.exact += int((predicted == wanted).all(1).sum())
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``macro_f1`` over the classes that occur or are predicted (0 if none does), and ``exact_match``."""
        occurring = self.marked > 0
        f1 = 2 * self.hits[occurring] / self.marked[occurring]
        return {"macro_f1": f1.mean().item() if len(f1) else 0.0, "exact_match": self.exact / max(1, self.count)}


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
