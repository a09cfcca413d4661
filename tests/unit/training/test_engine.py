import math

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from assay.errors import TrainingError
from assay.training.checkpoint import State
from assay.training.engine import Step, StepRules, evaluate, train_one_epoch
from assay.training.optimizers import AdamW, AveragedNetwork

INPUTS = torch.linspace(-1, 1, 64).view(64, 1)
TARGETS = 3 * INPUTS[:, 0] + 1


def loss_of(outputs, targets):
    return mse_loss(outputs[:, 0], targets)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


def batches(size=16):
    return list(zip(INPUTS.split(size), TARGETS.split(size), strict=True))


class MeanAbsoluteError:
    def __init__(self):
        self.errors = []

    def add(self, outputs, targets):
        self.errors.extend((outputs[:, 0] - targets).abs().tolist())

    def values(self):
        return {"mae": sum(self.errors) / len(self.errors)}


def steps(data, epoch, rate, parts=1):
    for number, (inputs, targets) in enumerate(data, start=1):
        pieces = zip(inputs.tensor_split(parts), targets.tensor_split(parts), strict=True)
        yield Step(f"epoch {epoch}, step {number}", rate, len(inputs), pieces)


def train(network, epochs=1, rate=0.1, rules=None, decay=0.0, data=None, parts=1):
    state = State(network, AdamW(network.parameters(), 0.9, 0.0), AveragedNetwork(network, decay))
    rules = rules or StepRules(loss_of)
    losses = []
    for epoch in range(1, epochs + 1):
        state.tally.loss = 0.0
        losses.append(train_one_epoch(state, steps(data or batches(), epoch, rate, parts), rules, lambda: None))
    return losses, state.average


def test_the_loss_falls(network):
    losses, _ = train(network, epochs=30)
    assert losses[-1] < 0.01 * losses[0]


def test_a_loss_that_is_not_finite_names_epoch_step_and_learning_rate(network):
    broken = [*batches()[:2], (INPUTS[:4], torch.full((4,), math.nan))]
    with pytest.raises(TrainingError, match=r"nan in epoch 1, step 3 at learning rate 0\.1"):
        train(network, data=broken)


def test_nothing_is_changed_by_the_step_whose_loss_is_not_finite(network):
    before = network.weight.detach().clone()
    with pytest.raises(TrainingError):
        train(network, data=[(INPUTS[:4], torch.full((4,), math.inf))])
    assert torch.equal(network.weight, before)


def test_clipping_bounds_the_gradient(network):
    train(network, rules=StepRules(lambda outputs, targets: 1e6 * loss_of(outputs, targets), clip_norm=0.5))
    norm = torch.stack([parameter.grad.norm() for parameter in network.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)


def test_the_average_lies_behind_the_network(network):
    start = network.weight.item()
    _, average = train(network, decay=0.998)
    low, high = sorted([start, network.weight.item()])
    assert low < average.network.weight.item() < high


def test_without_decay_the_average_is_the_network_itself(network):
    _, average = train(network, decay=0.0)
    assert average.network is network


def test_the_size_of_the_batches_does_not_change_an_evaluation(network):
    whole, single, uneven = (evaluate(network, batches(size), loss_of, MeanAbsoluteError()) for size in (64, 1, 23))
    assert whole == pytest.approx(single, rel=1e-5)
    assert whole == pytest.approx(uneven, rel=1e-5)


def test_an_evaluation_changes_nothing():
    network = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first, second = (evaluate(network, batches(), loss_of) for _ in range(2))
    assert first == second
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_bfloat16_comes_close_to_float32(network):
    exact, rounded = (evaluate(network, batches(), loss_of, bf16=bf16) for bf16 in (False, True))
    assert rounded["loss"] == pytest.approx(exact["loss"], rel=0.05)


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_a_batch_in_parts_makes_the_step_of_the_whole_batch_up_to_rounding(parts):
    networks = [nn.Linear(1, 1) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    (whole, _), (divided, _) = (train(each, epochs=3, parts=n) for each, n in zip(networks, (1, parts), strict=True))
    assert divided == pytest.approx(whole, rel=1e-5)
    # A weight near 0 is what is left of larger ones, whose rounding depends on the order in which a processor adds.
    assert torch.allclose(networks[0].weight, networks[1].weight, rtol=1e-5, atol=1e-6)
