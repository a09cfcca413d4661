import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, precision_score, recall_score

from assay.metrics import segmentation
from assay.metrics.segmentation import SegmentationSample

CLASSES = 4


def random_masks(images=5, seed=0, absent=()):
    """True and predicted masks (n, h, w) of classes 0 to 4; absent ones neither occur nor are predicted."""
    rng = np.random.default_rng(seed)
    allowed = [label for label in range(CLASSES + 1) if label not in absent]
    ground_truth = rng.choice(allowed, (images, 9, 11))
    return ground_truth, np.where(
        rng.random(ground_truth.shape) < 0.6, ground_truth, rng.choice(allowed, ground_truth.shape)
    )


def sample_of(ground_truth, predicted, weights=None):
    counts = np.zeros((len(ground_truth), CLASSES + 1, CLASSES + 1))
    for image, (target, output) in enumerate(zip(ground_truth, predicted, strict=True)):
        np.add.at(counts[image], (target.ravel(), output.ravel()), 1)
    return SegmentationSample(counts, np.ones((1, len(ground_truth))) if weights is None else weights)


def flat_scores(ground_truth, predicted, score):
    labels = list(range(1, CLASSES + 1))
    return score(ground_truth.ravel(), predicted.ravel(), labels=labels, average=None)


@pytest.mark.parametrize(
    ("metric", "score"),
    [
        (segmentation.iou, jaccard_score),
        (segmentation.dice, f1_score),
        (segmentation.precision, precision_score),
        (segmentation.recall, recall_score),
    ],
)
def test_metrics_per_class_are_those_of_scikit_learn_on_flattened_masks(metric, score):
    ground_truth, predicted = random_masks()
    np.testing.assert_allclose(
        metric(sample_of(ground_truth, predicted))[0], flat_scores(ground_truth, predicted, score), atol=1e-12
    )


def test_means_and_foreground_are_those_of_scikit_learn():
    ground_truth, predicted = random_masks(seed=1)
    sample = sample_of(ground_truth, predicted)
    expected = {
        segmentation.mean_iou: flat_scores(ground_truth, predicted, jaccard_score).mean(),
        segmentation.mean_dice: flat_scores(ground_truth, predicted, f1_score).mean(),
        segmentation.pixel_accuracy: accuracy_score(ground_truth.ravel(), predicted.ravel()),
        segmentation.foreground_iou: jaccard_score(ground_truth.ravel() > 0, predicted.ravel() > 0),
    }
    for metric, value in expected.items():
        assert metric(sample)[0] == pytest.approx(value, abs=1e-12)


def test_a_class_that_neither_occurs_nor_is_predicted_is_left_out_of_means():
    sample = sample_of(*random_masks(absent=[2]))
    values = segmentation.iou(sample)[0]
    assert np.isnan(values).tolist() == [False, True, False, False]
    assert segmentation.mean_iou(sample)[0] == pytest.approx(np.nanmean(values))
    assert sample.class_counts == [5, 0, 5, 5]


def test_a_weight_counts_like_that_many_copies_of_an_image():
    ground_truth, predicted = random_masks()
    often = np.array([0, 1, 3, 2, 1])
    weighted = sample_of(ground_truth, predicted, often[None].astype(float))
    copied = sample_of(np.repeat(ground_truth, often, axis=0), np.repeat(predicted, often, axis=0))
    assert segmentation.mean_iou(weighted)[0] == pytest.approx(segmentation.mean_iou(copied)[0], abs=1e-12)
    assert segmentation.foreground_iou(weighted)[0] == pytest.approx(segmentation.foreground_iou(copied)[0], abs=1e-12)


def test_one_class_everywhere_has_the_share_of_its_pixels_as_iou():
    ground_truth, predicted = random_masks()
    everywhere = sample_of(ground_truth, predicted).predict_everywhere(3)
    assert segmentation.iou(everywhere)[0].tolist() == pytest.approx([0, 0, (ground_truth == 3).mean(), 0])
    assert segmentation.foreground_iou(everywhere)[0] == pytest.approx((ground_truth > 0).mean())


def test_the_iou_of_counts_is_that_of_the_metric_with_the_background_first_and_nan_where_a_class_is_absent():
    sample = sample_of(*random_masks(absent=(3,)))
    ious = segmentation.iou_of_counts(sample.counts.sum(axis=0))
    np.testing.assert_array_equal(ious[1:], segmentation.iou(sample)[0])
    assert np.isnan(ious).tolist() == [False, False, False, True, False]
    np.testing.assert_array_equal(
        segmentation.iou_of_counts(sample.counts)[2], segmentation.iou_of_counts(sample.counts[2])
    )
