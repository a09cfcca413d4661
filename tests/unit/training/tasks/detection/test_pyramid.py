import numpy as np
import pytest
import torch
from PIL import Image

from assay.training.tasks.detection.boxes import decode_detections
from assay.training.tasks.detection.criterion import DetectionRunningMetric, PyramidRunningMetric
from assay.training.tasks.detection.pyramid import (
    FOUND_BEYOND,
    LEARNED_BEYOND,
    Pyramid,
    boxes_at,
    decode_pyramid,
    fitting_reductions,
    reduced_picture,
    training_pictures,
)
from assay.training.tasks.detection.task import DetectionDataset, reduced_images

THREE = Pyramid((1, 2, 4), 96)
ONE = Pyramid((1,), 96)
CROWD = -2


def square(side, index=1, left=0.0):
    return [index, left, 0, left + side, side]


def rows(*boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)


def classes_at(sides, pyramid, place):
    """The class of objects of some sizes in a reduced picture, None where there is no target."""
    return [boxes_at(rows(square(side)), pyramid, place)[:, 0].tolist() for side in sides]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ([], (1,)),
        ([8, 50, 96], (1,)),
        ([97], (1, 2)),
        ([8, 192], (1, 2)),
        ([8, 193], (1, 2, 4)),
        ([20] * 99 + [300], (1,)),
        ([20] * 98 + [300], (1, 2, 4)),
        ([1e6], (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_there_are_as_many_reductions_as_it_takes_to_show_nearly_all_objects(sides, expected):
    assert fitting_reductions(sides, 96) == expected


def test_every_size_is_meant_for_one_reduction_and_borders_are_shared():
    ranges = [THREE.sizes(place, 1.0) for place in range(3)]
    meant = [(sizes.least * factor, sizes.most * factor) for sizes, factor in zip(ranges, (1, 2, 4), strict=True)]
    assert meant == [(0, 64), (64, 128), (128, float("inf"))]
    assert THREE.sizes(1, 2.0) == (16, 128)
    assert ONE.sizes(0, 1.0) == (0, float("inf"))


def test_an_object_is_learned_where_it_suits_the_windows_and_ignored_elsewhere():
    sides = (8, 60, 80, 120, 180, 300)
    assert classes_at(sides, THREE, 0) == [[1], [1], [1], [CROWD], [CROWD], []]
    assert classes_at(sides, THREE, 1) == [[CROWD], [1], [1], [1], [1], [CROWD]]
    assert classes_at(sides, THREE, 2) == [[CROWD], [CROWD], [CROWD], [1], [1], [1]]
    assert FOUND_BEYOND < LEARNED_BEYOND


def test_with_one_reduction_every_object_is_learned_as_it_is():
    boxes = rows(square(8), square(300), [CROWD, 1, 2, 3, 4])
    assert torch.equal(boxes_at(boxes, ONE, 0), boxes)


def test_boxes_shrink_with_their_picture_and_crowds_stay():
    boxes = rows([0, 40, 60, 140, 160], [CROWD, 4, 8, 12, 16])
    assert boxes_at(boxes, THREE, 1).tolist() == [[0, 20, 30, 70, 80], [CROWD, 2, 4, 6, 8]]


def test_of_an_object_that_is_too_large_only_the_middle_is_ignored():
    assert boxes_at(rows(square(120, left=20)), THREE, 0).tolist() == [[CROWD, 50, 30, 110, 90]]


def test_a_picture_is_reduced_by_the_means_of_its_blocks():
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 11, 14)).astype(np.uint8))
    halved = reduced_picture(pixels, 2)
    assert halved.shape == (3, 6, 7)
    exact = pixels[:, :10].reshape(3, 5, 2, 7, 2).double().mean((2, 4))
    assert (halved[:, :5].double() - exact).abs().max() <= 0.5
    assert (halved[:, 5].double() - pixels[:, 10].reshape(3, 7, 2).double().mean(2)).abs().max() <= 0.5
    assert torch.equal(reduced_picture(pixels, 1), pixels)
    assert reduced_picture(pixels, 64).shape == (3, 1, 1)
    assert np.array_equal(
        halved.permute(1, 2, 0).numpy(), np.array(Image.fromarray(pixels.permute(1, 2, 0).numpy()).reduce(2))
    )


def test_windows_are_cut_out_of_all_reductions_that_show_something_to_learn():
    images = [torch.zeros(3, 300, 300, dtype=torch.uint8)] * 6
    boxes = [rows(square(20)), *[rows(square(20), square(250, left=20))] * 2, *[rows()] * 3]
    pictures, targets = training_pictures(images, boxes, THREE)
    sides = [picture.shape[1] for picture in pictures]
    assert sides == [300] * 6 + [150] * 2 + [75] * 4  # at each, the first and the fifth image show the background
    assert [int((own[:, 0] >= 0).sum()) for own in targets] == [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    alone, _ = training_pictures(images, boxes, ONE)
    assert len(alone) == 6


def outputs_with(side, *predictions):
    """Outputs (1, 2 + 4, side/4, side/4) of some predictions: class, row, column, logit, half the side of a square."""
    outputs = torch.cat([torch.full((1, 2, side // 4, side // 4), -9.0), torch.ones(1, 4, side // 4, side // 4)], 1)
    for index, row, column, logit, half in predictions:
        outputs[0, index, row, column] = logit
        outputs[0, 2:, row, column] = half
    return outputs


def decoded(*outputs, pyramid=THREE, size=320, most=10):
    (detections,) = decode_pyramid(outputs, torch.tensor([[size, size]]), pyramid, 0.1, most, 0.5)
    return detections


def nothing(side):
    return outputs_with(side)


def test_detections_of_all_reductions_are_put_together_the_most_confident_first():
    small, large = (0, 3, 3, 1.0, 10.0), (1, 10, 10, 2.0, 38.0)
    found = decoded(outputs_with(320, small), nothing(160), outputs_with(80, large))
    assert found.boxes.round(decimals=3).tolist() == [[16, 16, 320, 320], [4, 4, 24, 24]]
    assert found.classes.tolist() == [1, 0]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert len(decoded(outputs_with(320, small), nothing(160), outputs_with(80, large), most=1).boxes) == 1


def test_an_object_that_is_found_twice_counts_once_and_the_surer_box_stays():
    here, there = (0, 20, 20, 1.0, 34.0), (0, 10, 10, 2.0, 16.5)
    found = decoded(outputs_with(320, here), outputs_with(160, there), nothing(80))
    assert found.boxes.round(decimals=3).tolist() == [[51, 51, 117, 117]]
    other = (1, 10, 10, 2.0, 16.5)
    assert len(decoded(outputs_with(320, here), outputs_with(160, other), nothing(80)).boxes) == 2


def test_what_is_too_large_or_too_small_for_its_picture_is_no_detection():
    too_large, too_small = (0, 20, 20, 3.0, 45.0), (0, 10, 10, 3.0, 8.0)
    assert len(decoded(outputs_with(320, too_large), outputs_with(160, too_small), nothing(80)).boxes) == 0


def test_boxes_end_where_the_image_ends_at_every_reduction():
    found = decoded(nothing(304), nothing(160), outputs_with(80, (0, 18, 18, 3.0, 30.0)), size=301)
    assert found.boxes.round(decimals=3).tolist() == [[176, 176, 301, 301]]


def test_one_reduction_gives_the_very_detections_of_the_picture_alone():
    outputs = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(0))
    outputs[:, 2:] = outputs[:, 2:].abs() * 8
    sizes = torch.tensor([[32, 30]]).expand(3, 2)
    for own, alone in zip(
        decode_pyramid([outputs], sizes, ONE, 0.2, 20, 0.5), decode_detections(outputs, sizes, 0.2, 20), strict=True
    ):
        assert all(torch.equal(one, other) for one, other in zip(own, alone, strict=True))


def test_images_for_evaluation_come_at_all_reductions_and_count_once():
    truth = [rows(square(64, 0)), rows(square(256, 1))]
    images = [torch.zeros(3, 320, 320, dtype=torch.uint8)] * 2
    evaluated = reduced_images(DetectionDataset(images, truth, 96), THREE)
    batches = list(evaluated.batches(1))
    assert len(evaluated) == 2
    assert [inputs.shape[2] for inputs, _ in batches] == [320, 160, 80] * 2
    assert [[int(each) for each in targets[0, :, 0]] for _, targets in batches] == [[0], [0], [-2], [], [-2], [1]]
    metric = PyramidRunningMetric(2, truth, THREE)
    answers = [outputs_with(320, (0, 7, 7, 3.0, 32.0)), nothing(160), nothing(80)]
    answers += [nothing(320), nothing(160), outputs_with(80, (1, 7, 7, 3.0, 32.0))]
    for outputs, (_, targets) in zip(answers, batches, strict=True):
        metric.add(outputs, targets)
    assert metric.values()["map50"] == 1


def test_the_metric_of_one_reduction_is_the_usual_one():
    truth, outputs = [rows(square(30, 0))], outputs_with(64, (0, 3, 3, 3.0, 14.0), (1, 8, 8, 1.0, 5.0))
    usual, own = DetectionRunningMetric(2), PyramidRunningMetric(2, truth, ONE)
    usual.add(outputs, truth[0][None])
    own.add(outputs, truth[0][None])
    assert usual.values() == own.values()
    assert usual.values()["map50"] > 0
