"""What people read while a model trains: accuracy, or errors in the label's unit."""

import math
from collections.abc import Callable

from torch import Tensor

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
