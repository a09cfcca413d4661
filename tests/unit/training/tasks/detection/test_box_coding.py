import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.training.tasks.detection.boxes import cell_targets

objects = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 50), st.integers(1, 14), st.integers(1, 14)),
    max_size=5,
).map(lambda rows: torch.tensor([[k, x, y, x + w, y + h] for k, x, y, w, h in rows]).float().reshape(-1, 5))


def test_the_cell_of_the_center_is_1_in_the_map_of_its_class_alone():
    cells = cell_targets(torch.tensor([[[1.0, 4.0, 8.0, 18.0, 20.0]]]), 3, 8, 8)
    assert cells.heat[0, 1].eq(1).nonzero().tolist() == [[3, 2]]  # the center is (11, 14)
    assert cells.heat[0, [0, 2]].max() == 0
    assert cells.heat[0, 1, 3, 3] > cells.heat[0, 1, 3, 4] > 0


def test_every_cell_that_learns_a_box_learns_all_its_edges():
    box = [4.0, 8.0, 28.0, 30.0]
    cells = cell_targets(torch.tensor([[[0.0, *box]]]), 1, 8, 8)
    learning = cells.weights[0] > 0
    assert learning.sum() > 1
    assert cells.boxes[0][learning].tolist() == [box] * int(learning.sum())


@given(rows=objects)
@settings(max_examples=40, deadline=None)
def test_every_object_has_a_peak_in_its_own_class_and_nothing_else_has(rows):
    cells = cell_targets(rows[None], 3, 16, 16)
    peaks = {(int(k), int((y + b) / 2 // 4), int((x + r) / 2 // 4)) for k, x, y, r, b in rows.tolist()}
    assert {tuple(place) for place in cells.heat[0].eq(1).nonzero().tolist()} == peaks
    assert cells.heat.min() >= 0
    assert cells.counted.all()


def test_a_box_of_one_pixel_has_one_cell():
    cells = cell_targets(torch.tensor([[[0.0, 9.0, 5.0, 10.0, 6.0]]]), 1, 4, 4)
    assert torch.nonzero(cells.weights[0]).tolist() == [[1, 2]]
    assert cells.weights[0, 1, 2] == 1


def test_cells_in_crowds_are_not_counted_except_centers_of_objects():
    crowd, single = [-2.0, 0.0, 0.0, 15.0, 32.0], [0.0, 4.0, 4.0, 8.0, 8.0]
    counted = cell_targets(torch.tensor([[crowd, single]]), 1, 8, 8).counted[0, 0]
    assert counted[:, 4:].all()
    assert torch.nonzero(counted[:, :4]).tolist() == [[1, 1]]


@pytest.mark.parametrize("rows", [torch.zeros(1, 0, 5), torch.full((1, 3, 5), -1.0)])
def test_an_empty_image_has_no_targets(rows):
    cells = cell_targets(rows, 2, 4, 6)
    assert cells.heat.shape == (1, 2, 4, 6)
    assert cells.heat.max() == 0
    assert cells.weights.max() == 0
    assert cells.counted.all()


def test_of_two_objects_in_one_place_the_first_gives_the_box():
    same = torch.tensor([[[0.0, 8.0, 8.0, 16.0, 16.0], [1.0, 4.0, 4.0, 20.0, 20.0]]])
    cells = cell_targets(same, 2, 8, 8)
    assert cells.boxes[0, 3, 3].tolist() == [8, 8, 16, 16]
    assert cells.heat[0, :, 3, 3].tolist() == [1, 1]


def test_a_batch_has_the_targets_of_its_images_alone():
    rows = torch.tensor([[[0.0, 8, 8, 16, 16], [-1.0, 0, 0, 0, 0]], [[1.0, 2, 2, 9, 30], [-2.0, 0, 0, 9, 9]]])
    together = cell_targets(rows, 2, 8, 8)
    alone = [cell_targets(own[None], 2, 8, 8) for own in rows]
    for part, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert torch.equal(part, torch.cat(parts))
