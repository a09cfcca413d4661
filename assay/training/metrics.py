"""Metrics during a training: accuracy, errors in the target's unit, macro F1; thresholds and temperature of the model.

Belongs here: scores of items, which values are better, what is chosen on the validation data. Does not belong here:
metrics of the analysis (``assay.metrics``), applying thresholds (``class_targets``).
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

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
def adjusted_to_validation(
    card: ModelCard, network: nn.Module, weights: Mapping[str, Tensor], validation: EvaluationDataset | None
) -> ModelCard:
    """Return the card with the temperature and the decision thresholds that the spec asks for, if any.

    Args:
        card: Card of the weights.
        network: The weights are loaded into it, and it is left in evaluation mode.
        weights: Weights by name.
        validation: Items on which both are chosen: the temperature first, because it moves the probabilities.
    """
    target, params = card.target, card.section.train_params
    if validation is None or (params.decision != "tuned" and params.calibration is None):
        return card
    if not isinstance(target, ClassTarget | LabelsTarget):
        return card
    network.load_state_dict(weights)
    network.eval()
    size = card.section.data_validation.batch_size if card.section.data_validation else len(validation)
    pairs = [(forward(network, inputs, params.precision == "bf16"), true) for inputs, true in validation.batches(size)]
    outputs, true = (torch.cat(parts).cpu() for parts in zip(*pairs, strict=True))
    if params.calibration is not None:
        target = target.model_copy(update={"temperature": best_temperature(target, outputs, true)})
    if params.decision == "tuned":
        target = _tuned(target, target.predictions(outputs), true)
    return card.model_copy(update={"target": target})


SPREAD_OF_TEMPERATURES = 0.5
"""Standard deviation of the logarithm of temperatures that few items are taken to have: 0.6 to 1.6 are usual."""


def best_temperature(target: ClassTarget | LabelsTarget, outputs: Tensor, true: Tensor) -> float:
    """Return the number that outputs are divided by, with the least log loss on these items (Guo et al. 2017).

    A few items that are all right would ask for complete certainty. The temperature is therefore taken to be near 1, as
    if a few items said so, which many items overrule.

    Args:
        target: Decides how outputs become probabilities.
        outputs: Of the network, (n, k).
        true: Encoded targets: (n,) of indices, or (n, k) of 0 and 1.

    Returns:
        Between 1/20 and 20, to four digits, which rounding on another processor does not change.
    """
    from scipy.optimize import minimize_scalar  # 0.2 s, which only this needs

    def loss(logarithm: float) -> float:
        scaled = outputs.double() / math.exp(logarithm)
        if isinstance(target, LabelsTarget):
            error = functional.binary_cross_entropy_with_logits(scaled, true.double(), reduction="sum")
        else:
            error = functional.cross_entropy(scaled, true, reduction="sum")
        return error.item() + (logarithm / SPREAD_OF_TEMPERATURES) ** 2 / 2

    found = minimize_scalar(loss, bounds=(-math.log(20), math.log(20)), method="bounded", options={"xatol": 1e-7})
    return float(f"{math.exp(found.x):.4g}")


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
