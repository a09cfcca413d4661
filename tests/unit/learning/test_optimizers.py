import copy
from functools import partial

import torch
from torch import nn

from assay.learning.optimizers import AdamW, Sgd, build_optimizer
from assay.spec.learner import Learner


def trained(network, make_step, steps=5):
    """Return the parameters after some steps; ``make_step(network)`` gives the function that makes one."""
    network = copy.deepcopy(network)
    step = make_step(network)
    for index in range(steps):
        network.zero_grad()
        inputs = torch.arange(12.0).view(4, 3) / 10 + index
        network(inputs).square().mean().backward()
        step()
    return [parameter.detach() for parameter in network.parameters()]


def close(left, right):
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(left, right, strict=True))


def test_adamw_steps_like_torchs_own():
    def theirs(network):
        return torch.optim.AdamW(network.parameters(), 0.01, betas=(0.9, 0.999), weight_decay=0.1).step

    def ours(network):
        return partial(AdamW(network.parameters(), 0.9, 0.1).step, 0.01)

    network = nn.Linear(3, 2)
    assert close(trained(network, ours), trained(network, theirs))


def test_sgd_without_decay_steps_like_torchs_own():
    def theirs(network):
        return torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True).step

    def ours(network):
        return partial(Sgd(network.parameters(), 0.9, 0.0).step, 0.01)

    network = nn.Linear(3, 2)
    assert close(trained(network, ours), trained(network, theirs))


def test_weight_decay_shrinks_a_weight_that_the_loss_does_not_need():
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    build_optimizer(Learner(optimizer="sgd", weight_decay=0.5), network).step(0.1)
    assert torch.allclose(network.weight, before * 0.95)
