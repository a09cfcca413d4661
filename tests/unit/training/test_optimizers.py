import copy
from functools import partial

import pytest
import torch
from torch import nn

from assay.spec.trained_model import Learner, TrainedModelSection
from assay.training.optimizers import AdamW, Muon, Sgd, build_optimizer, orthogonal
from assay.training.prepare import with_added_loss
from assay.training.targets import NumberTarget
from tests.helpers.training_tasks import training_task


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


def test_muon_steps_like_torchs_own():
    def theirs(network):
        rule = {"momentum": 0.9, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"}
        return torch.optim.Muon(network.parameters(), 0.1, **rule).step

    def ours(network):
        return partial(Muon(network.parameters(), 0.9, 0.1).step, 0.1)

    torch.manual_seed(1)
    network = nn.Linear(3, 2, bias=False)
    (left,), (right,) = (trained(network, each, steps=1) for each in (ours, theirs))
    assert (left - network.weight).abs().max() > 0.02
    assert torch.allclose(left, right, atol=2e-3)  # theirs is rounded to two digits


def test_muon_gives_biases_to_adamw():
    def adamw(network):
        return partial(AdamW([network.bias], 0.9, 0.0).step, 0.01)

    def muon(network):
        return partial(Muon([network.bias], 0.9, 0.0).step, 0.01)

    network = nn.Linear(3, 2)
    assert close(trained(network, muon), trained(network, adamw))


@pytest.mark.parametrize("shape", [(8, 8), (4, 36), (50, 7), (1, 9)])
def test_all_singular_values_come_near_one_and_directions_stay(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    result = orthogonal(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    stretch = (left.T @ result @ right.T).diagonal()
    assert (result.shape, result.dtype) == (matrix.shape, torch.float32)
    assert ((stretch > 0.5) & (stretch < 1.3)).all()
    assert torch.allclose(result, left @ stretch.diag() @ right, atol=1e-4)


def test_a_kernel_is_changed_like_the_matrix_of_its_rows_whatever_its_layout():
    weights = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    kernel = nn.Parameter(weights.contiguous(memory_format=torch.channels_last))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    for parameter in (kernel, matrix):
        parameter.grad = torch.arange(48.0).sin().view(parameter.shape)
        Muon([parameter], 0.9, 0.1).step(0.1)
    # Rows and kernels are multiplied in another order by some processors; a step is 0.1 times numbers near 1.
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-6)


def test_weight_decay_shrinks_a_weight_that_the_loss_does_not_need():
    network = nn.Linear(3, 2)
    before = network.weight.detach().clone()
    build_optimizer(Learner(optimizer="sgd", weight_decay=0.5), network).step(0.1)
    assert torch.allclose(network.weight, before * 0.95)


LEARNER = """
from typing import Literal
from assay.spec.trained_model import Learner, LearnerKind
class Mine(Learner):
    kind: Literal["mine"] = "mine"
    scale: float = 3.0
KIND = LearnerKind(Mine, loss="learners:loss", optimizer="learners:optimizer")
ONLY_LOSS = LearnerKind(Mine, loss="learners:loss")
def loss(section, target):
    return lambda outputs, targets: section.scale * (outputs[:, 0] - targets).abs().mean()
class Descent:
    def __init__(self, parameters):
        self.parameters = parameters
    def state(self):
        return {}
    def step(self, learning_rate):
        for parameter in self.parameters:
            parameter.data -= learning_rate * parameter.grad
def optimizer(section, parameters):
    return Descent(parameters)
"""


def of_package(install_package, target):
    install_package("assay.learners", "mine", f"learners:{target}", learners=LEARNER)
    section = TrainedModelSection.model_validate({"learner": {"kind": "mine", "scale": 2.0}})
    assert section.content()["learner"]["scale"] == 2.0
    return section.learner


def test_the_optimizer_of_a_package_steps(install_package):
    learner, network = of_package(install_package, "KIND"), nn.Linear(2, 1)
    before = network.weight.detach().clone()
    network(torch.ones(1, 2)).sum().backward()
    build_optimizer(learner, network).step(0.5)
    assert torch.equal(network.weight.detach(), before - 0.5)


def test_a_package_may_add_a_loss_alone(install_package):
    learner = of_package(install_package, "ONLY_LOSS")
    assert isinstance(build_optimizer(learner, nn.Linear(2, 1)), AdamW)
    task = training_task(learner={"kind": "mine", "scale": 2.0})
    added = with_added_loss(task, NumberTarget(column="target", mean=0.0, std=1.0))
    outputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 0.0])
    assert added.loss(outputs, targets) == added.plain_loss(outputs, targets) == 3.0
    plain = training_task()
    assert with_added_loss(plain, NumberTarget(column="target", mean=0.0, std=1.0)) is plain
