"""Metrics during a training: accuracy, errors in the target's unit, macro F1; and tuned decision thresholds.

Belongs here: scores of items, which values are better, thresholds chosen on the validation data. Does not belong here:
metrics of the analysis (``assay.metrics``), applying thresholds (``class_targets``).
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.engine import forward
from assay.training.interfaces import EvaluationDataset
from assay.training.model_card import ModelCard
from assay.training.targets import ItemTarget, NumberTarget

LOWER_IS_BETTER = frozenset({"loss", "mae", "rmse"})

Score = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""``score(outputs, targets)``: values by name, one per item (B,), whose means are reported."""


def score_of(target: ItemTarget) -> Score:
    """Return the function that scores each item."""
    if isinstance(target, NumberTarget):
        return lambda outputs, targets: number_errors(outputs[:, 0], targets, target.std)
    return lambda outputs, targets: {"accuracy": (outputs.argmax(1) == targets).double()}


def number_errors(outputs: Tensor, targets: Tensor, unit: float) -> dict[str, Tensor]:
    """Return absolute and squared errors; ``unit`` is the value of 1 in the target's unit."""
    error = (outputs - targets).double() * unit
    return {"mae": error.abs(), "mse": error.square()}


def readable(values: dict[str, float]) -> dict[str, float]:
    """Return means with the root mean squared error, which has the target's unit, in place of its square."""
    if "mse" not in values:
        return values
    return {name: value for name, value in values.items() if name != "mse"} | {"rmse": math.sqrt(values["mse"])}


def is_better(metric: str, value: float, best: float | None, margin: float = 0.0) -> bool:
    """Return whether a value beats the best so far by more than a margin; of equal values, the earliest stays."""
    if best is None:
        return True
    return value < best - margin if metric in LOWER_IS_BETTER else value > best + margin


def as_note(values: dict[str, float]) -> str:
    """Return values as a short text, such as ``loss 0.312 accuracy 0.984``."""
    return " ".join(f"{name} {value:.3f}" for name, value in values.items())


class LabelsRunningMetric:
    """Macro F1, and the share of items with all classes right, at the target's decision thresholds."""

    def __init__(self, target: LabelsTarget) -> None:
        self.target = target
        self.hits = torch.zeros(target.output_count)
        self.positives = torch.zeros(target.output_count)  # true and predicted
        self.exact = self.count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add one batch: outputs (B, k), targets (B, k) of 0 and 1."""
        predicted, true = self.target.decide(self.target.predictions(outputs)).cpu(), targets.cpu() > 0
        self.hits += (predicted & true).sum(0)
        self.positives += predicted.sum(0) + true.sum(0)
        self.exact += int((predicted == true).all(1).sum())
        self.count += len(targets)

    def values(self) -> dict[str, float]:
        """Return ``macro_f1`` over the classes that occur or are predicted (0 if none does), and ``exact_match``."""
        occurring = self.positives > 0
        f1 = 2 * self.hits[occurring] / self.positives[occurring]
        return {"macro_f1": f1.mean().item() if len(f1) else 0.0, "exact_match": self.exact / max(1, self.count)}


@torch.no_grad()
def with_thresholds(
    card: ModelCard, network: nn.Module, weights: Mapping[str, Tensor], validation: EvaluationDataset | None
) -> ModelCard:
    """Return the card with decision thresholds tuned for the weights, if the spec asks for tuned ones.

    Args:
        card: Card of the weights.
        network: The weights are loaded into it, and it is left in evaluation mode.
        weights: Weights by name.
        validation: Items on which thresholds are tuned.
    """
    target, section = card.target, card.section
    if validation is None or section.train_params.decision != "tuned":
        return card
    if not isinstance(target, ClassTarget | LabelsTarget):
        return card
    network.load_state_dict(weights)
    network.eval()
    size = section.data_validation.batch_size if section.data_validation else len(validation)
    bf16 = section.train_params.precision == "bf16"
    batches = validation.batches(size)
    pairs = [(target.predictions(forward(network, inputs, bf16)), targets) for inputs, targets in batches]
    probabilities, true = (torch.cat(parts).cpu() for parts in zip(*pairs, strict=True))
    return card.model_copy(update={"target": _tuned(target, probabilities, true)})


def _tuned(target: ClassTarget | LabelsTarget, probabilities: Tensor, true: Tensor) -> ClassTarget | LabelsTarget:
    if isinstance(target, LabelsTarget):
        return target.model_copy(update={"thresholds": best_thresholds(probabilities, true)})
    place = int(true.bincount(minlength=2).argmin())
    (threshold,) = best_thresholds(probabilities[:, [place]], (true == place)[:, None])
    return target.model_copy(update={"rarer": target.classes[place], "threshold": threshold})


def best_thresholds(probabilities: Tensor, has: Tensor) -> tuple[float, ...]:
    """Return the decision threshold of each class with the best F1.

    Args:
        probabilities: (n, k).
        has: (n, k) of 0 and 1.

    Returns:
        Each is half way between two neighbouring probabilities, among equals the nearest to 0.5; 0.5 for classes that
        no item has, or all have.
    """
    return tuple(_best_threshold(column, own) for column, own in zip(probabilities.T, has.T, strict=True))


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
