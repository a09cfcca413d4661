import pytest
import torch

from assay.training.tasks.detection.boxes import decode_detections, iou

SIZE = torch.tensor([[32, 32]])


def outputs_with(*predictions):
    """Outputs (1, 2 + 4, 8, 8) with nothing but some predictions: class, row, column, logit, four distances."""
    outputs = torch.cat([torch.full((1, 2, 8, 8), -9.0), torch.ones(1, 4, 8, 8)], 1)
    for index, row, column, logit, *distances in predictions:
        outputs[0, index, row, column] = logit
        outputs[0, 2:, row, column] = torch.tensor(distances, dtype=torch.float32)
    return outputs


def edges_of(detections):
    return detections.boxes.round(decimals=3).tolist()


def test_distances_are_measured_from_the_center_of_the_cell():
    (detections,) = decode_detections(outputs_with((1, 3, 2, 2.0, 4, 5, 6, 7)), SIZE, 0.3, 10)
    assert edges_of(detections) == [[6, 9, 16, 21]]
    assert detections.classes.tolist() == [1]
    assert detections.scores.item() == pytest.approx(torch.tensor(2.0).sigmoid().item())


@pytest.mark.defect("A16")
def test_of_overlapping_detections_of_one_object_one_is_left():
    around = [(0, 3, 2, 1.0, 5, 9, 13, 9), (0, 3, 4, 3.0, 13, 9, 5, 9), (0, 5, 3, 2.0, 9, 17, 9, 1)]
    outputs = outputs_with(*around)
    assert (outputs[0, :2].sigmoid() > 0.5).sum() == 3  # a score threshold alone would report three objects
    (detections,) = decode_detections(outputs, SIZE, 0.5, 10)
    assert edges_of(detections) == [[5, 5, 23, 23]]
    assert detections.scores.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())


def test_objects_side_by_side_and_objects_of_other_classes_stay():
    predictions = [(0, 3, 1, 1.0, 5, 5, 5, 5), (0, 3, 5, 2.0, 5, 5, 5, 5), (1, 3, 1, 3.0, 5, 5, 5, 5)]
    (detections,) = decode_detections(outputs_with(*predictions), SIZE, 0.5, 10)
    assert detections.classes.tolist() == [1, 0, 0]
    assert detections.scores.tolist() == sorted(detections.scores.tolist(), reverse=True)


def test_no_more_than_the_largest_number_is_detected_and_nothing_below_the_least_score():
    predictions = [(0, 1, 1, 3.0, 2, 2, 2, 2), (0, 4, 4, 2.0, 2, 2, 2, 2), (0, 6, 6, 1.0, 2, 2, 2, 2)]
    (two,) = decode_detections(outputs_with(*predictions), SIZE, 0.3, 2)
    (none,) = decode_detections(outputs_with(*predictions), SIZE, 0.99, 2)
    assert (len(two.boxes), len(none.boxes)) == (2, 0)


def test_boxes_end_where_the_image_ends():
    (detections,) = decode_detections(outputs_with((0, 7, 7, 3.0, 8, 8, 8, 8)), torch.tensor([[31, 30]]), 0.5, 5)
    assert edges_of(detections) == [[22, 22, 31, 30]]


def test_boxes_in_the_padding_are_no_detections():
    outputs = outputs_with((0, 7, 7, 3.0, 2, 2, 2, 2), (0, 1, 1, 2.0, 2, 2, 2, 2))
    (detections,) = decode_detections(outputs, torch.tensor([[20, 20]]), 0.5, 5)
    assert edges_of(detections) == [[4, 4, 8, 8]]


def test_similar_boxes_of_one_object_are_averaged():
    predictions = [(0, 3, 3, 2.0, 9, 9, 9, 9), (0, 3, 4, 2.0, 11, 9, 5, 9)]
    (detections,) = decode_detections(outputs_with(*predictions), SIZE, 0.5, 5)
    assert edges_of(detections) == [[6, 5, 23, 23]]


def test_a_plateau_of_scores_is_one_object():
    around = [(0, 3, 3, 2.0, 9, 9, 9, 9), (0, 3, 4, 2.0, 13, 9, 5, 9)]
    (detections,) = decode_detections(outputs_with(*around), SIZE, 0.5, 5)
    assert edges_of(detections) == [[5, 5, 23, 23]]


def test_a_box_without_area_is_no_detection():
    (detections,) = decode_detections(outputs_with((0, 3, 3, 2.0, 0, 0, 0, 0)), SIZE, 0.5, 5)
    assert len(detections.boxes) == 0


def test_a_batch_has_the_detections_of_its_images_alone():
    batch = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    batch[:, 2:] = batch[:, 2:].abs() * 8
    sizes = SIZE.expand(3, 2)
    for row, detections in enumerate(decode_detections(batch, sizes, 0.2, 20)):
        (alone,) = decode_detections(batch[row : row + 1], SIZE, 0.2, 20)
        assert torch.equal(detections.boxes, alone.boxes)
        assert torch.equal(detections.classes, alone.classes)
        assert all(
            iou(one, other) <= 0.5 or detections.classes[i] != detections.classes[j]
            for i, one in enumerate(detections.boxes)
            for j, other in enumerate(detections.boxes[:i])
        )
