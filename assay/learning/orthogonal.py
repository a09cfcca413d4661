"""The orthogonal matrix nearest to another one, which Muon's steps are made of.

Belongs here: the arithmetic. Does not belong here: the optimizer (``optimizers``).
torch's own Muon takes matrices only, not kernels, and computes in bfloat16 only, which is slow on many processors.
"""

import torch
from torch import Tensor

LINEAR, CUBIC, QUINTIC = 3.4445, -4.7750, 2.0315
"""Coefficients of Jordan et al. (2024): singular values come close to 1 fast, rather than exactly: 0.7 to 1.2."""

ROUNDS = 5
TINY = 1e-7


def orthogonal(matrix: Tensor, bf16: bool = False) -> Tensor:
    """Return, roughly, the nearest matrix whose rows or columns are orthonormal, by Newton and Schulz's iteration.

    Args:
        matrix: float32 (m, n).
        bf16: Whether to compute in bfloat16.
    """
    tall = len(matrix) > matrix.shape[1]
    found = matrix.T if tall else matrix  # products of the smaller size
    found = found.bfloat16() if bf16 else found
    found = found / found.norm().clamp(min=TINY)
    for _ in range(ROUNDS):
        square = found @ found.T
        found = torch.addmm(found, torch.addmm(square, square, square, beta=CUBIC, alpha=QUINTIC), found, beta=LINEAR)
    return (found.T if tall else found).to(matrix.dtype)
