import numpy as np
import pytest
import torch
from torch.nn import functional

from assay.training.losses import focal_labels_loss, focal_loss

OUTPUTS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.2, 0.7], [0.3, 0.3, 0.1]])
TARGETS = torch.tensor([0, 1, 1, 2])
LABELS = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]])
WEIGHTS = torch.tensor([1.0, 3.0, 0.5])
NO_WEIGHTS = torch.ones(2, 3)


@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), (None, 0.1), (WEIGHTS, 0.0)])
def test_without_focus_it_is_the_cross_entropy(weights, smoothing):
    ours = focal_loss(weights, smoothing, 0.0)(OUTPUTS, TARGETS)
    theirs = functional.cross_entropy(OUTPUTS, TARGETS, weights, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_the_focus_is_the_papers_formula():
    right = OUTPUTS.double().softmax(1).numpy()[np.arange(4), TARGETS]
    expected = (-((1 - right) ** 2) * np.log(right)).mean()
    assert focal_loss(None, 0.0, 2.0)(OUTPUTS, TARGETS).item() == pytest.approx(expected, rel=1e-6)


def test_several_labels_without_focus_are_the_binary_cross_entropy():
    ours = focal_labels_loss(NO_WEIGHTS, 0.0, 0.0, None)(OUTPUTS, LABELS)
    assert ours.item() == pytest.approx(functional.binary_cross_entropy_with_logits(OUTPUTS, LABELS).item(), rel=1e-6)


def test_several_labels_are_the_papers_formula():
    truth, present = LABELS.numpy() > 0, OUTPUTS.double().sigmoid().numpy()
    right, alpha = np.where(truth, present, 1 - present), np.where(truth, 0.25, 0.75)
    expected = (-alpha * (1 - right) ** 2 * np.log(right)).mean()
    assert focal_labels_loss(NO_WEIGHTS, 0.0, 2.0, 0.25)(OUTPUTS, LABELS).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_gradient_of_a_certain_prediction_is_finite(gamma):
    outputs = torch.tensor([[200.0, -200.0]], requires_grad=True)
    focal_loss(None, 0.0, gamma)(outputs, torch.tensor([0])).backward()
    assert outputs.grad.isfinite().all()
    outputs.grad = None
    focal_labels_loss(torch.ones(2, 2), 0.0, gamma, None)(outputs, torch.tensor([[1.0, 0.0]])).backward()
    assert outputs.grad.isfinite().all()
