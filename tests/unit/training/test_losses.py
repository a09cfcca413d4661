import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.spec.trained_model import Learner, TrainedModelSection
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.losses import class_weights, label_weights, labels_loss, number_loss, plain_loss, training_loss
from assay.training.targets import NumberTarget

CLASSES = ClassTarget(column="label", classes=("a", "b", "c"))
OUTPUTS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.2, 0.7], [0.3, 0.3, 0.1]])
TARGETS = torch.tensor([0, 1, 1, 2])
COUNTS = torch.bincount(TARGETS)
LABELS = LabelsTarget(column="label", classes=("a", "b", "c"), places={}, thresholds=(0.5,) * 3)
HAS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])


def section(classes=None, **learner):
    return TrainedModelSection.model_validate({"learner": learner, "data_description": {"classes": classes}})


def log_softmax(outputs):
    values = outputs.double().numpy()
    return values - np.log(np.exp(values).sum(axis=1, keepdims=True))


def test_label_smoothing_is_the_cross_entropy_with_mixed_targets():
    smoothed = np.eye(3)[TARGETS] * (1 - 0.1) + 0.1 / 3
    expected = -(smoothed * log_softmax(OUTPUTS)).sum(axis=1).mean()
    spec = section(loss="cross_entropy", label_smoothing=0.1)
    assert training_loss(spec, CLASSES, TARGETS)(OUTPUTS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


def test_class_weights_weigh_the_items_of_their_class():
    weights = np.array([1.0, 3.0, 1.0])[TARGETS]
    losses = -log_softmax(OUTPUTS)[np.arange(4), TARGETS]
    spec = section(label_smoothing=0.0, class_weights={"b": 3.0})
    value = training_loss(spec, CLASSES, TARGETS)(OUTPUTS, TARGETS).item()
    assert value == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-6)


def test_balanced_weights_give_every_class_the_same_total():
    weights = class_weights(section(class_weights="balanced"), CLASSES.classes, COUNTS)
    totals = weights * torch.bincount(TARGETS)
    assert totals.tolist() == pytest.approx([4 / 3] * 3)


def test_a_weight_for_an_unknown_class_is_an_error_that_lists_the_classes():
    with pytest.raises(DataError, match=r"there are a, b, c\.\n  - d"):
        class_weights(section(class_weights={"d": 2.0}), CLASSES.classes, COUNTS)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_the_smoothed_part_of_an_items_loss_has_the_weight_of_its_own_class(loss):
    spec = section(loss=loss, label_smoothing=0.3, class_weights={"b": 9.0}, focal_gamma=0.0)
    weights = np.array([1.0, 9.0, 1.0])[TARGETS]
    smoothed = np.eye(3)[TARGETS] * (1 - 0.3) + 0.3 / 3
    losses = -(smoothed * log_softmax(OUTPUTS)).sum(axis=1)
    value = training_loss(spec, CLASSES, TARGETS)(OUTPUTS, TARGETS).item()
    assert value == pytest.approx((weights * losses).sum() / weights.sum(), rel=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_balanced_weights_and_smoothing_together_find_both_of_a_rare_and_a_frequent_class(loss):
    generator = torch.Generator().manual_seed(4)
    targets = (torch.arange(2020) % 101 == 0).long()  # 1:100
    inputs = torch.randn(2020, 1, generator=generator) + 4 * targets[:, None]
    network = torch.nn.Linear(1, 2)
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.zeros_(network.bias)
    target = ClassTarget(column="label", classes=("frequent", "rare"))
    minimized = training_loss(section(loss=loss, class_weights="balanced", label_smoothing=0.05), target, targets)
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        value = minimized(network(inputs), targets)
        value.backward()
        return value

    optimizer.step(closure)
    right = network(inputs).argmax(1) == targets
    assert right[targets == 0].float().mean() > 0.95
    assert right[targets == 1].float().mean() > 0.9


@pytest.mark.parametrize("loss", ["cross_entropy", "focal"])
def test_a_batch_of_a_class_without_weight_teaches_nothing(loss):
    spec = section(loss=loss, class_weights={"a": 0.0}, label_smoothing=0.1)
    assert training_loss(spec, CLASSES, TARGETS)(OUTPUTS[:1], TARGETS[:1]).item() == 0.0


@pytest.mark.parametrize("weights", [None, {"b": 9.0}])
def test_epochs_are_compared_with_weights_and_without_smoothing(weights):
    spec = section(label_smoothing=0.3, class_weights=weights)
    each = np.array([1.0, 9.0 if weights else 1.0, 1.0])[TARGETS]
    expected = -(each * log_softmax(OUTPUTS)[np.arange(4), TARGETS]).mean()
    assert plain_loss(spec, CLASSES, TARGETS)(OUTPUTS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.defect("A17")
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
    loss = training_loss(section(loss="mse"), target, torch.zeros(2))
    assert loss(torch.tensor([[1.0], [3.0]]), torch.zeros(2)).item() == 5.0


DESCRIBED = ["a", {"name": "b", "weight": 4.0}, "c"]


@pytest.mark.defect("A6")
def test_the_weight_of_a_class_multiplies_that_of_the_learner():
    weights = class_weights(section(DESCRIBED, class_weights={"b": 0.5, "c": 3.0}), CLASSES.classes, COUNTS)
    assert weights.tolist() == [1.0, 2.0, 3.0]
    assert class_weights(section(["a", "b", "c"]), CLASSES.classes, COUNTS) is None


@pytest.mark.defect("A6")
@pytest.mark.parametrize("target", [CLASSES, LABELS], ids=["one class", "several labels"])
def test_a_weight_changes_the_loss(target):
    targets = TARGETS if target is CLASSES else HAS
    plain, weighted = (training_loss(section(classes), target, targets) for classes in (["a", "b", "c"], DESCRIBED))
    assert plain(OUTPUTS, targets).item() != pytest.approx(weighted(OUTPUTS, targets).item(), rel=1e-3)


def test_the_loss_of_several_labels_is_the_weighted_mean_of_their_binary_cross_entropies():
    weights = label_weights(section(DESCRIBED), LABELS.classes, HAS)
    sigmoid = 1 / (1 + np.exp(-OUTPUTS.double().numpy()))
    each = -np.where(HAS > 0, np.log(sigmoid), np.log(1 - sigmoid)) * np.array([1.0, 4.0, 1.0]) / 2
    assert labels_loss(weights, 0.0)(OUTPUTS, HAS).item() == pytest.approx(each.mean(), rel=1e-6)
    assert plain_loss(section(), LABELS, HAS)(OUTPUTS, HAS).item() == pytest.approx(
        (each / [0.5, 2, 0.5]).mean(), rel=1e-6
    )
    assert plain_loss(section(DESCRIBED), LABELS, HAS)(OUTPUTS, HAS).item() == pytest.approx(each.mean(), rel=1e-6)


def test_balanced_labels_give_items_with_and_without_a_class_the_same_total():
    weights = label_weights(section(class_weights="balanced"), LABELS.classes, HAS)
    np.testing.assert_allclose((weights[1] * HAS).sum(0), [2.0, 2.0, 2.0])
    np.testing.assert_allclose((weights[0] * (1 - HAS)).sum(0), [2.0, 2.0, 2.0])


def test_smoothed_labels_are_drawn_towards_one_half():
    half = labels_loss(torch.ones(2, 3), 1.0)(torch.zeros(4, 3), HAS).item()
    assert half == pytest.approx(math.log(2))
    smooth, sharp = (labels_loss(torch.ones(2, 3), amount)(20 * HAS - 10, HAS).item() for amount in (0.2, 0.0))
    assert smooth > sharp
