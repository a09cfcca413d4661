"""Linear model of rows of numbers; how it is fitted: ``assay.training.fitted_models``."""

import math

from torch import nn

from assay.spec.models import LinearModel


def build_linear(section: LinearModel, input_shape: tuple[int, ...], output_count: int) -> nn.Linear:
    """Return a linear model whose weights are not fitted yet."""
    return nn.Linear(math.prod(input_shape), output_count)
