"""What needs torch: the network, the loss, the loader, the way to predict."""

import math
from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from assay.training.interfaces import Loss
from assay.training.model_card import AnyTarget
from assay.training.model_file import LoadedModel, load_model
from assay.training.tasks.item_level import Predictor
from assay_robust.kinds import Averaged, Jittered, LogCosh, OneLayer


def build_one_layer(section: OneLayer, input_shape: tuple[int, ...], output_count: int) -> nn.Module:
    """Return an untrained network; random weights come from torch's current generator."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), output_count, bias=section.bias))


def log_cosh(section: LogCosh, target: AnyTarget) -> Loss:
    """Return the loss: from outputs (B, 1) and standardized targets (B,) to a differentiable mean."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        error = (outputs[:, 0] - targets) / section.scale
        # log(cosh(x)) without the overflow of cosh.
        return (error + nn.functional.softplus(-2 * error) - math.log(2)).mean() * section.scale

    return loss


def load_averaged(section: Averaged, folder: Path) -> LoadedModel:
    """Return the model to apply.

    Args:
        section: Its keys in the spec.
        folder: The result of trained_model.
    """
    chosen, last = (load_model(folder / "models" / name) for name in ("model.safetensors", "last.safetensors"))
    others = last.network.state_dict()
    mean = {
        name: (value + others[name]) / 2 if value.is_floating_point() else value
        for name, value in chosen.network.state_dict().items()
    }
    chosen.network.load_state_dict(mean)
    return chosen


def predict_jittered(section: Jittered, predict: Predictor, batch: Tensor, generator: Generator) -> Tensor:
    """Return the predictions (B, outputs) of a batch.

    Args:
        section: Its keys in the spec.
        predict: Returns the predictions of a batch; ``predict.model`` has the network.
        batch: Inputs of the network (B, ...).
        generator: The source of all randomness, from ``predictions.seed``.
    """
    copies = [
        batch + section.noise * torch.randn(batch.shape, generator=generator).to(batch) for _ in range(section.copies)
    ]
    return torch.stack([predict(copy) for copy in copies]).mean(0)
