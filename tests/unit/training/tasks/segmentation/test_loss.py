import math

import pytest
import torch
from torch.nn import functional

from assay.datasets.mask_classes import IGNORED
from assay.training.tasks.segmentation.dataset import numbered_regions
from assay.training.tasks.segmentation.loss import (
    SegmentationLoss,
    class_loss,
    class_shares,
    dice_loss,
    plain_segmentation_loss,
)

CLASSES = 3


def targets(unknown=False):
    """One image with an object of class 2, one without anything; perhaps with an unknown stripe."""
    classes = torch.zeros(2, 32, 32, dtype=torch.uint8)
    classes[0, 8:20, 4:24] = 2
    regions = torch.stack([numbered_regions(each) for each in classes])
    if unknown:
        classes[:, :, 16:] = IGNORED
    return torch.stack([classes, regions], 1)


def outputs(channels=16 + 2 * CLASSES, side=8, seed=0):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(seed))


def perfect(targets):
    """Outputs of a network that knows the masks."""
    classes = targets[:, 0]
    foreground = functional.pixel_unshuffle((classes[:, None] > 0).float() * 40 - 20, 4)
    class_logits = (
        functional.one_hot(functional.max_pool2d(classes.float(), 4).long(), 1 + CLASSES)[..., 1:].permute(0, 3, 1, 2)
        * 40.0
    )
    class_logits = functional.max_pool2d(class_logits, 3, stride=1, padding=1)
    centers = torch.full_like(class_logits, -20)
    centers[0, 1, 14 // 4, 14 // 4] = 20
    return torch.cat([foreground, class_logits, centers], 1)


def test_right_outputs_cost_nothing_and_others_something():
    loss = SegmentationLoss()
    assert loss(perfect(targets()), targets()) < 1e-3
    assert loss(outputs(), targets()) > 1


def test_all_outputs_have_a_gradient():
    predicted = outputs().requires_grad_()
    SegmentationLoss()(predicted, targets()).backward()
    assert (predicted.grad.abs().sum((0, 2, 3)) > 0).all()
    assert predicted.grad.isfinite().all()


@pytest.mark.parametrize("changed", [slice(0, 16), slice(16 + CLASSES, 16 + 2 * CLASSES)])
def test_outputs_at_unknown_pixels_do_not_matter(changed):
    other = outputs()
    other[:, changed, :, 5:] = 7.0
    unknown = targets(unknown=True)
    assert SegmentationLoss()(other, unknown) == pytest.approx(SegmentationLoss()(outputs(), unknown).item())


@pytest.mark.parametrize("fill", [0, IGNORED])
def test_a_batch_that_shows_nothing_has_a_finite_loss(fill):
    filled = torch.zeros(2, 2, 32, 32, dtype=torch.uint8)
    filled[:, 0] = fill
    predicted = outputs().requires_grad_()
    loss = SegmentationLoss()(predicted, filled)
    loss.backward()
    assert math.isfinite(loss.item())
    assert predicted.grad.isfinite().all()


def test_weights_of_classes_make_their_pixels_matter():
    logits, classes = outputs(CLASSES), targets()[:, 0]
    plain = class_loss(logits, classes)
    doubled = class_loss(logits, classes, torch.tensor([1.0, 2.0, 1.0]))
    assert doubled.item() == pytest.approx(2 * plain.item(), rel=1e-5)  # there is no other class


def test_networks_without_centers_can_be_trained_too():
    logits = outputs(1 + CLASSES, 32).requires_grad_()
    weighted = SegmentationLoss(torch.tensor([1.0, 5.0, 1.0]))(logits, targets())
    weighted.backward()
    assert weighted > SegmentationLoss()(logits, targets())
    assert (logits.grad.abs().sum((0, 2, 3)) > 0).all()


def test_shares_of_cells_are_those_of_their_pixels():
    classes = torch.tensor([[0, 1, 2, 255]], dtype=torch.uint8).repeat(1, 4, 2)
    assert class_shares(classes, 2).tolist() == [[[[0.25, 0.25]], [[0.25, 0.25]]]]


def test_the_loss_that_compares_epochs_leaves_out_unknown_pixels():
    logits = outputs(1 + CLASSES, 32)
    classes = targets(unknown=True)[:, 0]
    expected = functional.cross_entropy(logits[:, :, :, :16], classes[:, :, :16].long())
    assert plain_segmentation_loss(logits, classes).item() == pytest.approx(expected.item(), rel=1e-5)
    assert plain_segmentation_loss(logits, torch.full_like(classes, IGNORED)) == 0


def test_dice_is_that_of_known_pixels():
    predicted, true = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[1.0, 0.0, 1.0]]])
    assert dice_loss(predicted, true, torch.ones_like(true)).item() == pytest.approx(1 - 3 / 5)
    assert dice_loss(predicted, true, torch.tensor([[[1.0, 0.0, 0.0]]])).item() == pytest.approx(0)
