import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.learning.schedule import learning_rate


def test_one_cycle_is_torchs_own():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 1.0)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=41, pct_start=0.25)
    theirs = []
    for _ in range(41):
        theirs.append(cycle.get_last_lr()[0])
        optimizer.step()
        cycle.step() if len(theirs) < 41 else None
    ours = [learning_rate("one_cycle", 0.4, step, 41, 0.25) for step in range(41)]
    assert ours == pytest.approx(theirs, abs=1e-9)


@given(st.sampled_from(["one_cycle", "cosine", "constant"]), st.integers(1, 50), st.floats(0, 0.99))
@settings(max_examples=50)
def test_every_schedule_stays_between_zero_and_its_peak(schedule, steps, warmup):
    rates = [learning_rate(schedule, 0.1, step, steps, warmup) for step in range(steps)]
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)


def test_cosine_falls_from_the_peak_to_zero():
    assert learning_rate("cosine", 0.1, 0, 11, 0.0) == pytest.approx(0.1)
    assert learning_rate("cosine", 0.1, 5, 11, 0.0) == pytest.approx(0.05)
    assert learning_rate("cosine", 0.1, 10, 11, 0.0) == pytest.approx(0.0)
