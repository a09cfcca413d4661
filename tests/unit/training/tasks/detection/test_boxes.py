import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.training.tasks.detection.boxes import area, clip, generalized_iou, iou, pairwise_iou

LEFT_HALF = torch.tensor([0.0, 0.0, 5.0, 10.0])
WHOLE = torch.tensor([0.0, 0.0, 10.0, 10.0])
FAR = torch.tensor([20.0, 0.0, 30.0, 10.0])

edges = st.tuples(*(st.integers(0, 40) for _ in range(4)))
boxes = edges.map(lambda e: torch.tensor([e[0], e[1], e[0] + e[2], e[1] + e[3]], dtype=torch.float32))


def pixels_of(box):
    left, top, right, bottom = (int(edge) for edge in box.tolist())
    return {(x, y) for x in range(left, right) for y in range(top, bottom)}


def test_a_box_of_one_pixel_has_area_1():
    assert area(torch.tensor([7.0, 3.0, 8.0, 4.0])).item() == 1


def test_edges_in_the_wrong_order_enclose_nothing():
    assert area(torch.tensor([8.0, 3.0, 7.0, 4.0])).item() == 0


def test_half_of_a_box_has_iou_one_half():
    assert iou(LEFT_HALF, WHOLE).item() == pytest.approx(0.5)


def test_boxes_apart_have_iou_0_and_a_generalized_iou_that_says_how_far():
    assert iou(WHOLE, FAR).item() == 0
    assert generalized_iou(WHOLE, FAR).item() == pytest.approx(-1 / 3)  # 100 of 300 square pixels lie in neither


@given(first=boxes, second=boxes)
@settings(max_examples=40, deadline=None)
def test_iou_counts_pixels(first, second):
    one, other = pixels_of(first), pixels_of(second)
    expected = len(one & other) / len(one | other) if one | other else 0.0
    assert iou(first, second).item() == pytest.approx(expected, abs=1e-6)
    assert -1 <= generalized_iou(first, second).item() <= expected + 1e-6


def test_pairwise_iou_is_the_iou_of_each_pair():
    first, second = torch.stack([LEFT_HALF, WHOLE, FAR]), torch.stack([WHOLE, FAR])
    expected = [[iou(one, other).item() for other in second] for one in first]
    assert pairwise_iou(first, second).tolist() == expected
    assert pairwise_iou(first, second[:0]).shape == (3, 0)


def test_clipping_keeps_the_part_in_the_image():
    outside = torch.tensor([[-5.0, 2.0, 4.0, 30.0], [12.0, 0.0, 15.0, 5.0]])
    assert clip(outside, 10, 20).tolist() == [[0, 2, 4, 20], [10, 0, 10, 5]]


def test_each_image_of_a_batch_clips_at_its_own_size():
    batch = WHOLE.expand(2, 1, 4)
    clipped = clip(batch, torch.tensor([[8.0], [20.0]]), torch.tensor([[6.0], [9.0]]))
    assert clipped.tolist() == [[[0, 0, 8, 6]], [[0, 0, 10, 9]]]
