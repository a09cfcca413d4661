"""The orthogonal matrix nearest to another one, which Muon's steps are made of.

Belongs here: the arithmetic. Does not belong here: the optimizer (``optimizers``).
torch's own Muon takes matrices only, not kernels, and computes in bfloat16 only: slow on many processors, and
no faster anywhere for matrices as small as those of our networks.
"""

import torch
from torch import Tensor

LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan et al. (2024): singular values come close to 1 fast, rather than exactly: 0.7 to 1.2."""

ROUNDS = 5
SMALLEST_NORM = 1e-7


def orthogonal(matrix: Tensor) -> Tensor:
    """Return, roughly, the nearest (m, n) matrix with orthonormal rows or columns: Newton and Schulz's iteration."""
    tall = len(matrix) > matrix.shape[1]
    found = matrix.T if tall else matrix  # products of the smaller size
    found = found / found.norm().clamp(min=SMALLEST_NORM)
    for _ in range(ROUNDS):
        square = found @ found.T
        found = torch.addmm(found, torch.addmm(square, square, square, beta=CUBIC, alpha=QUINTIC), found, beta=LINEAR)
    return found.T if tall else found
