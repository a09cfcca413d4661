import torch

from assay.training.tasks.detection.criterion import DetectionRunningMetric

OBJECTS = torch.tensor([[[0.0, 6, 9, 16, 21], [1.0, 20, 4, 28, 12]]])
PREDICTIONS = [(0, 3, 2, 4, 5, 6, 7), (1, 1, 5, 2, 2, 6, 6)]  # class, row, column, distances: exactly these objects


def outputs_with(predictions):
    outputs = torch.cat([torch.full((1, 2, 8, 8), -9.0), torch.ones(1, 4, 8, 8)], 1)
    for index, row, column, *distances in predictions:
        outputs[0, index, row, column] = 3.0
        outputs[0, 2:, row, column] = torch.tensor(distances, dtype=torch.float32)
    return outputs


def measured(predictions, targets):
    metric = DetectionRunningMetric(2)
    metric.add(outputs_with(predictions), targets)
    return metric.values()["map50"]


def test_the_precision_is_1_if_everything_is_detected_and_one_half_if_one_of_two_classes_is():
    assert measured(PREDICTIONS, OBJECTS) == 1
    assert measured(PREDICTIONS[:1], OBJECTS) == 0.5


def test_without_detections_or_objects_the_precision_is_zero():
    assert measured([], OBJECTS) == 0
    assert measured(PREDICTIONS, torch.zeros(1, 0, 5)) == 0
    assert measured(PREDICTIONS, torch.tensor([[[-2.0, 0, 0, 32, 32]]])) == 0


def test_a_detection_in_a_crowd_is_no_mistake():
    surest_in_crowd = outputs_with([*PREDICTIONS, (0, 6, 2, 4, 4, 4, 4)])
    surest_in_crowd[0, 0, 6, 2] = 9.0
    values = []
    for targets in (OBJECTS, torch.cat([OBJECTS, torch.tensor([[[-2.0, 0, 16, 32, 32]]])], 1)):
        metric = DetectionRunningMetric(2)
        metric.add(surest_in_crowd, targets)
        values.append(metric.values()["map50"])
    assert values == [0.75, 1.0]


def test_images_count_together():
    metric = DetectionRunningMetric(2)
    metric.add(outputs_with(PREDICTIONS), OBJECTS)
    metric.add(outputs_with([]), OBJECTS)
    assert 0.4 < metric.values()["map50"] < 0.6
