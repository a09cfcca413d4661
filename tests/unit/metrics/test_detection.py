import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assay.metrics.box_matching import Boxes, box_iou, weighted_scores
from assay.metrics.detection import (
    ap50,
    ap50_95,
    coco_scores,
    evaluate_coco,
    make_sample,
    map50,
    map50_95,
    map75,
    recall100,
)
from tests.helpers.detection_cases import random_case


def boxes(*rows, crowd=()):
    """Boxes from rows of image, class, left, top, width, height and, of predicted ones, confidence."""
    table = np.array(rows, np.float64).reshape(len(rows), -1)
    confidence = table[:, 6] if table.shape[1] > 6 else np.ones(len(rows))
    marked = np.isin(np.arange(len(rows)), crowd)
    return Boxes(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:6], confidence, marked)


NOTHING = Boxes(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool))


def evaluated_by_pycocotools(predicted, objects, class_count, image_count):
    def records(of):
        rows = zip((of.image + 1).tolist(), (of.label + 1).tolist(), of.xywh.tolist(), strict=True)
        return [{"image_id": image, "category_id": label, "bbox": box} for image, label, box in rows]

    ground_truth = COCO()
    ground_truth.dataset = {
        "images": [{"id": image + 1} for image in range(image_count)],
        "categories": [{"id": label + 1} for label in range(class_count)],
        "annotations": [
            # ID 0 would be taken for "not matched".
            {**record, "id": row + 1, "area": record["bbox"][2] * record["bbox"][3], "iscrowd": int(crowd)}
            for row, (record, crowd) in enumerate(zip(records(objects), objects.crowd, strict=True))
        ],
    }
    scored = zip(records(predicted), predicted.confidence.tolist(), strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth.createIndex()
        evaluation = COCOeval(
            ground_truth, ground_truth.loadRes([{**record, "score": score} for record, score in scored]), "bbox"
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def check_against_pycocotools(seeds):
    """Compare the library's scores and our own with pycocotools; returns how many cases there were."""
    compared = 0
    for seed in seeds:
        predicted, objects, class_count, _ = case = random_case(seed)
        if not len(predicted) or not len(objects):
            continue  # pycocotools takes no empty list of results
        compared += 1
        evaluation, sample = evaluated_by_pycocotools(*case), make_sample(*case)
        precision, recall = evaluation.eval["precision"][..., 0, 2].mean(axis=1), evaluation.eval["recall"][..., 0, 2]
        ours = weighted_scores(predicted, objects, sample.matches, class_count, sample.weights)
        for scores in (ours, coco_scores(*case)):
            np.testing.assert_allclose(scores.precision[0], np.where(recall < 0, np.nan, precision), atol=1e-6)
            np.testing.assert_allclose(scores.recall[0], np.where(recall < 0, np.nan, recall), atol=1e-6)
        means = [metric(sample)[0] for metric in (map50_95, map50, map75, recall100)]
        expected = evaluation.stats[[0, 1, 2, 8]]  # -1 where nothing is defined
        np.testing.assert_allclose(np.nan_to_num(means, nan=-1), expected, atol=1e-6)
    return compared


def test_average_precision_is_that_of_pycocotools_on_a_few_cases():
    assert check_against_pycocotools(range(1000, 1016)) > 10


@pytest.mark.system
def test_average_precision_is_that_of_pycocotools_on_200_cases_with_empty_images_absent_classes_crowds_and_ties():
    assert check_against_pycocotools(range(215)) >= 200


@pytest.mark.parametrize("seed", range(6))
def test_a_weight_counts_like_that_many_copies_of_an_image(seed):
    predicted, objects, class_count, image_count = random_case(seed + 50)
    rng = np.random.default_rng(seed)
    # Of equally sure boxes the earlier image's come first, which differs between a weight and a copy at the end.
    predicted = Boxes(
        predicted.image, predicted.label, predicted.xywh, rng.permutation(len(predicted)) / 1e3, predicted.crowd
    )
    often = rng.integers(0, 4, image_count)
    weighted = weighted_scores(
        predicted, objects, make_sample(predicted, objects, class_count, image_count).matches, class_count, often[None]
    )
    copied = make_sample(*(repeated(each, often) for each in (predicted, objects)), class_count, int(often.sum()))
    by_copies = weighted_scores(copied.predicted, copied.objects, copied.matches, class_count, copied.weights)
    defined = ~np.isnan(by_copies.precision)
    np.testing.assert_allclose(weighted.precision[defined], by_copies.precision[defined], atol=1e-12)
    assert np.isnan(weighted.recall[~defined]).all()


def repeated(of, often):
    """Return the boxes with every image as often as asked for."""
    rows = [np.flatnonzero(of.image == image) for image, times in enumerate(often) for _ in range(times)]
    images = np.repeat(np.arange(len(rows)), [len(each) for each in rows])
    chosen = of.at(np.concatenate([*rows, np.zeros(0, int)]).astype(int))
    return Boxes(images, chosen.label, chosen.xywh, chosen.confidence, chosen.crowd)


def test_a_class_without_objects_has_no_value_and_does_not_count():
    sample = make_sample(
        boxes((0, 0, 10, 10, 20, 20, 0.9), (0, 1, 50, 50, 9, 9, 0.8)), boxes((0, 0, 10, 10, 20, 20)), 2, 1
    )
    assert ap50(sample).tolist()[0][0] == 1.0
    assert np.isnan(ap50_95(sample)[0, 1])
    assert map50_95(sample)[0] == 1.0


def test_objects_without_a_predicted_box_count_as_missed():
    sample = make_sample(NOTHING, boxes((0, 0, 10, 10, 20, 20)), 1, 2)
    assert (map50(sample)[0], recall100(sample)[0]) == (0.0, 0.0)


def test_without_any_object_nothing_is_defined():
    sample = make_sample(boxes((0, 0, 10, 10, 20, 20, 0.9)), NOTHING, 1, 1)
    assert np.isnan(map50_95(sample)[0])
    assert sample.class_counts == [0]


def test_in_a_crowd_a_box_is_neither_right_nor_wrong():
    objects = boxes((0, 0, 0, 0, 20, 20), (0, 0, 50, 50, 40, 40), crowd=[1])
    found = [(0, 0, 0, 0, 20, 20, 0.5), (0, 0, 55, 55, 10, 10, 0.9), (0, 0, 70, 70, 10, 10, 0.8)]
    sample = make_sample(boxes(*found), objects, 1, 1)
    assert map50_95(sample)[0] == 1.0
    assert sample.class_counts == [1]


def test_the_iou_with_a_crowd_is_the_share_of_the_box_inside_it():
    box, other = np.array([[0.0, 0.0, 10.0, 10.0]]), np.array([[5.0, 0.0, 100.0, 100.0]] * 2)
    assert box_iou(box, other, np.array([False, True])).tolist() == [[50 / 10_050, 0.5]]
    assert box_iou(np.zeros((1, 4)), np.zeros((1, 4)), np.array([False])).tolist() == [[0.0]]


def iou_by_its_definition(boxes, objects, crowd):
    low = np.maximum(boxes[:, None, :2], objects[None, :, :2])
    high = np.minimum(boxes[:, None, :2] + boxes[:, None, 2:], objects[None, :, :2] + objects[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    own, others = np.prod(boxes[:, 2:], axis=1)[:, None], np.prod(objects[:, 2:], axis=1)[None]
    union = np.where(crowd[None], own, own + others - shared)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


@pytest.mark.parametrize("seed", range(20))
def test_the_iou_of_boxes_is_its_definition_also_without_area_without_boxes_and_with_crowds(seed):
    rng = np.random.default_rng(seed)
    boxes, objects = (rng.integers(0, 40, (count, 4)).astype(float) for count in rng.integers(0, 30, 2))
    boxes[rng.random(len(boxes)) < 0.2, 2] = 0
    crowd = rng.random(len(objects)) < 0.3
    np.testing.assert_array_equal(box_iou(boxes, objects, crowd), iou_by_its_definition(boxes, objects, crowd))


@pytest.mark.parametrize("seed", range(10))
def test_one_evaluation_by_coco_gives_precision_at_each_recall_for_any_thresholds(seed):
    case = random_case(seed + 300)
    whole, half = evaluate_coco(*case), evaluate_coco(*case, iou_thresholds=np.array([0.5]))
    assert whole["precision"].shape == (10, 101, case[2])
    np.testing.assert_array_equal(half["precision"][0], whole["precision"][0])
    np.testing.assert_array_equal(half["recall"][0], whole["recall"][0])


def test_an_evaluation_by_coco_without_boxes_or_without_objects_is_0_or_not_defined():
    objects = boxes((0, 0, 10, 10, 20, 20))
    assert evaluate_coco(NOTHING, objects, 2, 1)["recall"].tolist()[0] == pytest.approx([0.0, np.nan], nan_ok=True)
    assert np.isnan(evaluate_coco(boxes((0, 0, 1, 1, 9, 9, 0.9)), NOTHING, 2, 1)["precision"]).all()
