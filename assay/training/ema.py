"""Exponential moving average of a network's weights, which generalizes better than the weights of the last step.

Polyak & Juditsky, *Acceleration of Stochastic Approximation by Averaging* (1992).
"""

import copy

import torch
from torch import nn


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
