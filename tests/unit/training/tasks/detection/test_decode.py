import pytest
import torch

from assay.training.tasks.detection.box_coding import decode_detections
from assay.training.tasks.detection.boxes import iou

SIZE = torch.tensor([[32, 32]])


def outputs_with(*answers):
    """Outputs (1, 2 + 4, 8, 8) with nothing but some answers: class, row, column, logit, four distances."""
    outputs = torch.cat([torch.full((1, 2, 8, 8), -9.0), torch.ones(1, 4, 8, 8)], 1)
    for index, row, column, logit, *distances in answers:
        outputs[0, index, row, column] = logit
        outputs[0, 2:, row, column] = torch.tensor(distances, dtype=torch.float32)
    return outputs


def edges_of(found):
    return found.boxes.round(decimals=3).tolist()


def test_distances_are_counted_from_the_middle_of_the_cell():
    (found,) = decode_detections(outputs_with((1, 3, 2, 2.0, 4, 5, 6, 7)), SIZE, 0.3, 10)
    assert edges_of(found) == [[6, 9, 16, 21]]
    assert found.classes.tolist() == [1]
    assert found.scores.item() == pytest.approx(torch.tensor(2.0).sigmoid().item())


def test_a16_of_overlapping_answers_for_one_object_one_is_left():
    around = [(0, 3, 2, 1.0, 5, 9, 13, 9), (0, 3, 4, 3.0, 13, 9, 5, 9), (0, 5, 3, 2.0, 9, 17, 9, 1)]
    outputs = outputs_with(*around)
    assert (outputs[0, :2].sigmoid() > 0.5).sum() == 3  # a score threshold alone would report three objects
    (found,) = decode_detections(outputs, SIZE, 0.5, 10)
    assert edges_of(found) == [[5, 5, 23, 23]]
    assert found.scores.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())


def test_objects_side_by_side_and_objects_of_other_classes_stay():
    answers = [(0, 3, 1, 1.0, 5, 5, 5, 5), (0, 3, 5, 2.0, 5, 5, 5, 5), (1, 3, 1, 3.0, 5, 5, 5, 5)]
    (found,) = decode_detections(outputs_with(*answers), SIZE, 0.5, 10)
    assert found.classes.tolist() == [1, 0, 0]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_no_more_than_the_wanted_number_is_given_and_nothing_unlikely():
    answers = [(0, 1, 1, 3.0, 2, 2, 2, 2), (0, 4, 4, 2.0, 2, 2, 2, 2), (0, 6, 6, 1.0, 2, 2, 2, 2)]
    (two,) = decode_detections(outputs_with(*answers), SIZE, 0.3, 2)
    (none,) = decode_detections(outputs_with(*answers), SIZE, 0.99, 2)
    assert (len(two.boxes), len(none.boxes)) == (2, 0)


def test_boxes_end_where_the_image_ends():
    (found,) = decode_detections(outputs_with((0, 7, 7, 3.0, 8, 8, 8, 8)), torch.tensor([[31, 30]]), 0.5, 5)
    assert edges_of(found) == [[22, 22, 31, 30]]


def test_what_lies_in_the_padding_is_not_found():
    outputs = outputs_with((0, 7, 7, 3.0, 2, 2, 2, 2), (0, 1, 1, 2.0, 2, 2, 2, 2))
    (found,) = decode_detections(outputs, torch.tensor([[20, 20]]), 0.5, 5)
    assert edges_of(found) == [[4, 4, 8, 8]]


def test_answers_for_one_object_that_differ_a_little_are_averaged():
    answers = [(0, 3, 3, 2.0, 9, 9, 9, 9), (0, 3, 4, 2.0, 11, 9, 5, 9)]
    (found,) = decode_detections(outputs_with(*answers), SIZE, 0.5, 5)
    assert edges_of(found) == [[6, 5, 23, 23]]


def test_a_flat_top_is_one_object():
    around = [(0, 3, 3, 2.0, 9, 9, 9, 9), (0, 3, 4, 2.0, 13, 9, 5, 9)]
    (found,) = decode_detections(outputs_with(*around), SIZE, 0.5, 5)
    assert edges_of(found) == [[5, 5, 23, 23]]


def test_an_answer_without_area_is_no_object():
    (found,) = decode_detections(outputs_with((0, 3, 3, 2.0, 0, 0, 0, 0)), SIZE, 0.5, 5)
    assert len(found.boxes) == 0


def test_a_batch_finds_what_its_images_show_alone():
    batch = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    batch[:, 2:] = batch[:, 2:].abs() * 8
    sizes = SIZE.expand(3, 2)
    for row, found in enumerate(decode_detections(batch, sizes, 0.2, 20)):
        (alone,) = decode_detections(batch[row : row + 1], SIZE, 0.2, 20)
        assert torch.equal(found.boxes, alone.boxes)
        assert torch.equal(found.classes, alone.classes)
        assert all(
            iou(one, other) <= 0.5 or found.classes[i] != found.classes[j]
            for i, one in enumerate(found.boxes)
            for j, other in enumerate(found.boxes[:i])
        )
