import math

import pytest
import torch

from assay.training.tasks.detection.boxes import boxes_of, cell_targets
from assay.training.tasks.detection.criterion import detection_loss

OBJECT = torch.tensor([[[1.0, 4.0, 8.0, 18.0, 20.0]]])
CROWD = torch.tensor([[[-2.0, 0.0, 0.0, 32.0, 32.0]]])
NO_OBJECT = torch.full((1, 1, 5), -1.0)
DISTANCES = torch.full((1, 4, 8, 8), 5.0)


def outputs_for(targets, sure=12.0):
    """The outputs of a perfect detector."""
    cells = cell_targets(targets, 3, 8, 8)
    logits = torch.where(cells.heat == 1, sure, -sure)
    corner = boxes_of(torch.zeros_like(DISTANCES))
    edges = cells.boxes - corner
    return torch.cat([logits, (edges * torch.tensor([-1.0, -1.0, 1.0, 1.0])).permute(0, 3, 1, 2)], 1)


def test_the_right_outputs_cost_nearly_nothing():
    assert detection_loss(outputs_for(OBJECT), OBJECT).item() < 1e-3


def test_a_box_beside_the_right_one_costs_more_than_one_that_touches_it():
    right = outputs_for(OBJECT)
    shifts = torch.tensor([-1.0, 0.0, 1.0, 0.0]).view(4, 1, 1)
    moved = [torch.cat([right[:, :3], right[:, 3:] + far * shifts], 1) for far in (0, 4, 14, 40)]
    losses = [detection_loss(outputs, OBJECT).item() for outputs in moved]
    assert losses == sorted(losses)
    assert len(set(losses)) == 4


def test_a_missed_center_costs_its_cross_entropy_times_the_square_of_the_miss():
    outputs = outputs_for(OBJECT, sure=20.0)
    outputs[0, 1, 3, 2] = 0.0  # probability 0.5
    assert detection_loss(outputs, OBJECT).item() == pytest.approx(0.25 * math.log(2), abs=1e-5)


def test_detections_in_a_crowd_cost_nothing():
    outputs = torch.cat([torch.full((1, 3, 8, 8), 9.0), DISTANCES], 1)
    assert detection_loss(outputs, CROWD).item() == 0
    assert detection_loss(outputs, NO_OBJECT).item() > 100


@pytest.mark.parametrize("targets", [NO_OBJECT, CROWD, torch.zeros(1, 0, 5)])
def test_images_without_objects_have_a_finite_loss_and_gradient(targets):
    outputs = torch.cat([torch.zeros(1, 3, 8, 8), DISTANCES], 1).requires_grad_()
    loss = detection_loss(outputs, targets)
    loss.backward()
    assert math.isfinite(loss.item())
    assert outputs.grad.isfinite().all()


def test_certain_mistakes_cost_a_finite_amount():
    wrong = torch.cat([outputs_for(OBJECT)[:, :3] * -50, DISTANCES], 1)
    assert math.isfinite(detection_loss(wrong, OBJECT).item())
