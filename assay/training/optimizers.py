"""Optimizers, learning rate schedules, and the moving average of the weights.

AdamW and SGD keep the state for torch's functional update rules, because the classes of ``torch.optim`` import the
compiler (``torch._dynamo``) when they are created: 1.0 s, as long as importing torch and longer than a small training.
Muon is our own, because torch's takes matrices only, no kernels, and computes in bfloat16 only: slow on many
processors. The average is that of Polyak & Juditsky, *Acceleration of Stochastic Approximation by Averaging* (1992).
"""

import copy
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from assay.spec.extensions import guarded, is_added
from assay.spec.plugins import LEARNERS, load_plugin
from assay.spec.trained_model import Learner, LearnerKind

SECOND_BETA = 0.999

TINY = 1e-8

ADAMW_MOMENTUM = 0.9
"""First beta of the AdamW that Muon uses for biases and normalization."""

MUON_LENGTH = 0.2
"""Root mean square of Muon's steps at learning rate 1, about the same as that of AdamW's steps."""


class Optimizer(Protocol):
    """Updates parameters by their gradients."""

    parameters: list[nn.Parameter]

    def state(self) -> dict[str, Tensor]:
        """Return every tensor that a step changes, except the parameters; not copies."""

    def step(self, learning_rate: float) -> None:
        """Update every parameter once; gradients are not changed."""


class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    def __init__(self, parameters: Iterable[nn.Parameter], first_beta: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.first_beta, self.weight_decay = first_beta, weight_decay
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.steps = [torch.tensor(0.0) for _ in self.parameters]

    def state(self) -> dict[str, Tensor]:
        """Return the moments of the gradients and the number of steps."""
        return numbered(means=self.means, squares=self.squares, steps=self.steps)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter once."""
        adamw(
            list(self.parameters),
            gradients(self.parameters),
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=self.first_beta,
            beta2=SECOND_BETA,
            lr=learning_rate,
            weight_decay=self.weight_decay,
            eps=TINY,
            maximize=False,
        )


class Sgd:
    """Stochastic gradient descent with Nesterov momentum; weight decay is decoupled, as in ``AdamW``."""

    def __init__(self, parameters: Iterable[nn.Parameter], momentum: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]

    def state(self) -> dict[str, Tensor]:
        """Return the velocities."""
        return numbered(velocities=self.velocities)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter once."""
        for parameter in self.parameters:
            parameter.mul_(1 - learning_rate * self.weight_decay)
        sgd(
            list(self.parameters),
            gradients(self.parameters),
            list(self.velocities),
            foreach=False,
            weight_decay=0.0,
            momentum=self.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=self.momentum > 0,
            maximize=False,
        )


class Muon:
    """Momentum with orthogonalized steps: every direction of a weight matrix changes by the same amount.

    For matrices and kernels; biases and the parameters of normalization use AdamW with the same learning rate. After
    Jordan et al., *Muon: An optimizer for hidden layers in neural networks* (2024), for the direction of the steps, and
    Liu et al., *Muon is Scalable for LLM Training* (2025), for their length.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], momentum: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.momentum, self.weight_decay = momentum, weight_decay
        self.matrices = [parameter for parameter in self.parameters if parameter.ndim > 1]
        self.velocities = [torch.zeros_like(parameter) for parameter in self.matrices]
        others = (parameter for parameter in self.parameters if parameter.ndim < 2)
        self.adamw = AdamW(others, ADAMW_MOMENTUM, weight_decay)

    def state(self) -> dict[str, Tensor]:
        """Return the velocities, and the state of AdamW."""
        return numbered(velocities=self.velocities) | self.adamw.state()

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter once."""
        self.adamw.step(learning_rate)
        pairs = zip(gradients(self.matrices), self.velocities, strict=True)
        for parameter, (gradient, velocity) in zip(self.matrices, pairs, strict=True):
            velocity.lerp_(gradient, 1 - self.momentum)
            matrix = gradient.lerp(velocity, self.momentum).flatten(1)  # one row per output channel of a kernel
            change = orthogonal(matrix).reshape(parameter.shape)
            parameter.mul_(1 - learning_rate * self.weight_decay)
            parameter.add_(change, alpha=-learning_rate * MUON_LENGTH * math.sqrt(max(matrix.shape)))


def numbered(**groups: list[Tensor]) -> dict[str, Tensor]:
    """Return all tensors, named by group and position."""
    return {f"{name}/{place}": value for name, values in groups.items() for place, value in enumerate(values)}


def gradients(parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Return the gradient of each parameter, zeros where the loss does not depend on it."""
    return [torch.zeros_like(item) if item.grad is None else item.grad for item in parameters]


OPTIMIZERS: dict[str, Callable[[list[nn.Parameter], float, float], Optimizer]] = {
    "muon": Muon,
    "adamw": AdamW,
    "sgd": Sgd,
}


def build_optimizer(learner: Learner, network: nn.Module) -> Optimizer:
    """Return the optimizer of a resolved spec, for all parameters that are not frozen."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if added := learner_function(learner, "optimizer"):
        optimizer: Optimizer = added(trainable)
        return optimizer
    return OPTIMIZERS[learner.optimizer or "adamw"](trainable, learner.momentum or 0.0, learner.weight_decay)


def learner_function(learner: Learner, name: Literal["loss", "optimizer"]) -> Callable[..., Any] | None:
    """Return the function of an installed package's learner for its loss or optimizer; None where it has none.

    Raises:
        AssayError: The package can't be used.
    """
    if not is_added(learner):
        return None
    kind = str(getattr(learner, "kind", ""))
    registered: LearnerKind = load_plugin(LEARNERS, kind, LearnerKind)
    path = registered.loss if name == "loss" else registered.optimizer
    return partial(guarded(LEARNERS, kind, path), learner) if path else None


LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan et al. (2024): singular values converge quickly to 0.7 to 1.2, but not to 1."""

ROUNDS = 5

SMALLEST_NORM = 1e-7


def orthogonal(matrix: Tensor) -> Tensor:
    """Return approximately the nearest (m, n) matrix with orthonormal rows or columns, by Newton-Schulz iteration."""
    tall = len(matrix) > matrix.shape[1]
    result = matrix.T if tall else matrix  # products of the smaller size
    result = result / result.norm().clamp(min=SMALLEST_NORM)
    for _ in range(ROUNDS):
        square = result @ result.T
        result = torch.addmm(
            result, torch.addmm(square, square, square, beta=CUBIC, alpha=QUINTIC), result, beta=LINEAR
        )
    return result.T if tall else result


START, END = 25.0, 1e4
"""One-cycle starts at peak / START and ends at peak / START / END, as in Smith & Topin, *Super-Convergence* (2018)."""


def learning_rate(learner: Learner, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        learner: Resolved; reads learning_rate, schedule, warmup, milestones and gamma.
        step: From 0 to steps - 1.
        steps: Number of steps of the whole training.
    """
    peak, warm_steps = learner.learning_rate or 0.0, (learner.warmup or 0.0) * steps
    if learner.schedule == "one_cycle":
        return one_cycle(peak, step, steps, warm_steps)
    if step + 1 < warm_steps:
        return peak * (step + 1) / warm_steps
    if learner.schedule == "cosine":
        return cosine(peak, 0.0, max(0.0, step - warm_steps) / max(1.0, steps - 1 - warm_steps))
    if learner.schedule == "step":
        return peak * learner.gamma ** sum(step >= milestone * steps for milestone in learner.milestones)
    return peak


def one_cycle(peak: float, step: int, steps: int, warm_steps: float) -> float:
    """Rise along half a cosine until ``warm_steps``, then fall along another to almost 0."""
    rising = warm_steps - 1
    if step < rising:
        return cosine(peak / START, peak, step / rising)
    return cosine(peak, peak / START / END, (step - rising) / max(1.0, steps - 1 - rising))


def cosine(start: float, end: float, share: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine, as ``share`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2


class AveragedNetwork:
    """A second network whose weights follow those of the first.

    The average covers at most the last tenth of the steps taken so far, so that a short training does not average its
    own beginning.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the network's current weights; with ``decay`` 0 the average is the network itself."""
        self.decay = decay
        self.steps = 0
        self.network = copy.deepcopy(network).eval() if decay else network

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """Update the average after a step."""
        if not self.decay:
            return
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for average, weight in zip(self.network.parameters(), network.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)

    @torch.no_grad()
    def copy_statistics(self, network: nn.Module) -> None:
        """Copy the buffers: the running means and variances of batch normalization."""
        if self.decay:
            for average, value in zip(self.network.buffers(), network.buffers(), strict=True):
                average.copy_(value)
