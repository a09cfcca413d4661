import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.spec.trained_model import Learner
from assay.training.optimizers import learning_rate


def rates(steps, **keys):
    learner = Learner(**keys)
    return [learning_rate(learner, step, steps) for step in range(steps)]


def test_one_cycle_is_torchs_own():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=41, pct_start=0.25)
    theirs = []
    for _ in range(41):
        theirs.append(cycle.get_last_lr()[0])
        optimizer.step()
        cycle.step() if len(theirs) < 41 else None
    ours = rates(41, schedule="one_cycle", learning_rate=0.4, warmup=0.25)
    assert ours == pytest.approx(theirs, abs=1e-9)


@given(st.sampled_from(["one_cycle", "cosine", "step", "constant"]), st.integers(1, 50), st.floats(0, 0.99))
@settings(max_examples=50)
def test_every_schedule_stays_between_zero_and_its_peak(schedule, steps, warmup):
    values = rates(steps, schedule=schedule, learning_rate=0.1, warmup=warmup)
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in values)


def test_cosine_falls_from_the_peak_to_zero():
    values = rates(11, schedule="cosine", learning_rate=0.1, warmup=0.0)
    assert [values[step] for step in (0, 5, 10)] == pytest.approx([0.1, 0.05, 0.0])


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_the_learning_rate_rises_in_equal_steps_at_first(schedule):
    values = rates(40, schedule=schedule, learning_rate=0.1, warmup=0.1)
    assert values[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_step_falls_at_its_milestones():
    values = rates(10, schedule="step", learning_rate=1.0, warmup=0.0, milestones=(0.3, 0.8), gamma=0.5)
    assert values == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
