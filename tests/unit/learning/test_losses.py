import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.learning.losses import class_weights, number_loss, plain_loss, training_loss
from assay.learning.targets import ClassTarget, NumberTarget
from assay.spec.training import Learner

CLASSES = ClassTarget(column="label", classes=("a", "b", "c"))
OUTPUTS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.2, 0.7], [0.3, 0.3, 0.1]])
TARGETS = torch.tensor([0, 1, 1, 2])


def log_softmax(outputs):
    values = outputs.double().numpy()
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def test_label_smoothing_is_the_cross_entropy_with_mixed_targets():
    wanted = np.eye(3)[TARGETS] * (1 - 0.1) + 0.1 / 3
    expected = -(wanted * log_softmax(OUTPUTS)).sum(axis=1).mean()
    learner = Learner(loss="cross_entropy", label_smoothing=0.1)
    assert training_loss(learner, CLASSES, TARGETS)(OUTPUTS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


def test_class_weights_weigh_the_items_of_their_class():
    weights = np.array([1.0, 3.0, 1.0])[TARGETS]
    losses = -log_softmax(OUTPUTS)[np.arange(4), TARGETS]
    learner = Learner(label_smoothing=0.0, class_weights={"b": 3.0})
    value = training_loss(learner, CLASSES, TARGETS)(OUTPUTS, TARGETS).item()
    assert value == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-6)


def test_balanced_weights_give_every_class_the_same_total():
    weights = class_weights("balanced", CLASSES.classes, TARGETS)
    totals = weights * torch.bincount(TARGETS)
    assert totals.tolist() == pytest.approx([4 / 3] * 3)


def test_a_weight_for_an_unknown_class_is_an_error_that_lists_the_classes():
    with pytest.raises(DataError, match=r"there are a, b, c\.\n  - d"):
        class_weights({"d": 2.0}, CLASSES.classes, TARGETS)


def test_epochs_are_compared_without_weights_and_smoothing():
    learner = Learner(label_smoothing=0.3, class_weights={"b": 9.0})
    expected = -log_softmax(OUTPUTS)[np.arange(4), TARGETS].mean()
    assert plain_loss(learner, CLASSES)(OUTPUTS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


@given(beta=st.floats(0.05, 3.0))
@settings(max_examples=30, deadline=None)
def test_smooth_l1_is_continuous_where_it_becomes_linear(beta):
    loss = number_loss(Learner(loss="smooth_l1", smooth_l1_beta=beta))
    below, above = (loss(torch.tensor([[beta + step]]), torch.zeros(1)).item() for step in (-1e-4, 1e-4))
    assert below <= above
    assert math.isclose(below, above, abs_tol=1e-3)
    assert above == pytest.approx(beta / 2, abs=1e-3)


def test_mse_is_the_mean_of_squares():
    target = NumberTarget(column="target", mean=0.0, std=1.0)
    loss = training_loss(Learner(loss="mse"), target, torch.zeros(2))
    assert loss(torch.tensor([[1.0], [3.0]]), torch.zeros(2)).item() == 5.0
