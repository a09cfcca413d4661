"""Intervals: what they are on cases worked out by hand, and where there is none; how often they hold: the campaign."""

import numpy as np
import pytest

from assay.metrics.classification import accuracy, calibration_error, log_loss
from assay.metrics.intervals import OfMean, OfShare, Percentiles, intervals
from assay.metrics.registry import Metric, get_metric
from assay.metrics.regression import mean_absolute_error
from assay.metrics.samples import (
    ClassificationSample,
    RegressionSample,
    predict_certainly,
    predict_majority,
    predict_mean,
)
from tests.campaigns.coverage import KINDS, measure


def normal_sample(count, seed=0, tails=None):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=count) if tails is None else rng.standard_t(tails, count)
    return RegressionSample(target, np.zeros(count), np.ones((1, count)))


def classified(right, wrong, classes=2):
    target = np.arange(right + wrong) % classes
    predicted = np.where(np.arange(right + wrong) < right, target, (target + 1) % classes)
    return ClassificationSample(target, predicted, np.eye(classes)[predicted], np.ones((1, right + wrong)))


def interval_of(metric, sample, groups=None, resamples=2000, confidence=0.95, seed=0, **keys):
    groups = np.arange(len(sample.target)) if groups is None else groups
    if isinstance(metric, str):
        metric = get_metric(metric, "regression" if isinstance(sample, RegressionSample) else "classification")
    rng = np.random.default_rng(seed)
    return intervals({"m": metric}, sample, groups, rng, resamples=resamples, confidence=confidence, **keys)["m"]


def none(ends):
    return all(np.isnan(end).all() for end in ends)


@pytest.mark.parametrize(
    ("right", "wrong", "expected"),
    [(28, 2, (0.787, 0.982)), (81, 19, (0.722, 0.875)), (30, 0, (0.886, 1.0)), (0, 30, (0.0, 0.114))],
)
def test_the_interval_of_an_accuracy_is_wilsons(right, wrong, expected):
    """The values are those of Wilson's formula; the number of trials comes from draws, so that digits differ."""
    assert interval_of("accuracy", classified(right, wrong), resamples=20_000) == pytest.approx(expected, abs=0.003)


def test_a_perfect_recall_of_a_rare_class_is_as_uncertain_as_its_few_items():
    target = np.array([0] * 96 + [1] * 4)
    sample = ClassificationSample(target, target, np.eye(2)[target], np.ones((1, 100)))
    low, high = interval_of("recall", sample)
    assert low == pytest.approx([0.962, 0.510], abs=0.002)
    assert high.tolist() == [1.0, 1.0]


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    sample = normal_sample(400)
    errors = np.abs(sample.target)
    low, high = interval_of("mae", sample)
    standard_error = errors.std() / 20
    assert low == pytest.approx(errors.mean() - 1.96 * standard_error, abs=0.2 * standard_error)
    assert high == pytest.approx(errors.mean() + 1.96 * standard_error, abs=0.2 * standard_error)


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_about_nineteen_of_twenty_intervals_hold_the_true_value(kind):
    cells = list(measure(kind, 100, 60, seed=3))
    assert [str(cell) for cell in cells if cell.fails] == []
    assert any(cell.printed for cell in cells)


@pytest.mark.parametrize("metric", ["rmse", "mse", "r2"])
def test_squares_of_errors_with_heavy_tails_have_no_interval(metric):
    assert none(interval_of(metric, normal_sample(400, tails=3)))
    assert none(interval_of(metric, normal_sample(100)))
    low, high = interval_of(metric, normal_sample(400))
    value = get_metric(metric, "regression").compute(normal_sample(400))[0]
    assert low < value < high


@pytest.mark.parametrize("metric", ["mae", "log_loss", "calibration_error"])
def test_few_items_have_no_interval_of_a_mean(metric):
    sample = normal_sample(30) if metric == "mae" else classified(28, 2)
    assert none(interval_of(metric, sample))


def test_a_mean_that_one_item_decides_has_no_interval():
    sample = classified(299, 1)
    metric = Metric("classification", log_loss, "log loss", interval=OfMean(lambda each: each.target * 0.0 + 1.0))
    assert none(interval_of("log_loss", sample))
    assert none(interval_of(metric, sample))  # nothing varies


def test_a_calibration_that_may_be_perfect_has_no_interval_and_an_error_of_nearly_nothing():
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 1, 2000)
    target = (rng.random(2000) > sure).astype(int)
    sample = ClassificationSample(target, np.zeros(2000, int), np.stack([sure, 1 - sure], 1), np.ones((1, 2000)))
    assert calibration_error(sample)[0] < 0.015  # without taking chance away it is 0.02
    assert none(interval_of("calibration_error", sample))
    certain = predict_certainly(sample)
    assert calibration_error(certain)[0] == pytest.approx(0.25, abs=0.03)
    low, high = interval_of("calibration_error", certain)
    assert low < 0.25 < high


def test_a_metric_of_a_package_gets_percentiles_that_follow_a_skewed_distribution():
    metric = Metric("regression", mean_absolute_error, "mine", False)
    assert metric.interval == Percentiles()
    ours = interval_of(metric, normal_sample(400))
    np.testing.assert_allclose(ours, interval_of("mae", normal_sample(400)), rtol=0.02)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    sample = normal_sample(50)
    assert interval_of("mae", sample, seed=1) == interval_of("mae", sample, seed=1)
    assert interval_of("mae", sample, seed=1) != interval_of("mae", sample, seed=2)


def test_blocks_do_not_change_how_many_draws_there_are():
    sample = normal_sample(30)
    sizes = []

    def count_rows(drawn):
        if len(drawn.weights) > 1:
            sizes.append(len(drawn.weights))
            assert (drawn.weights.sum(axis=1) == 30).all()
        return mean_absolute_error(drawn)

    interval_of(Metric("regression", count_rows, "m"), sample, resamples=100, block_elements=30 * 7)
    assert sum(sizes) in (100, 98)  # a last block of two has more than one row, one of one is not counted
    assert max(sizes) == 7


def test_items_of_one_group_are_drawn_together_which_widens_the_interval():
    base = np.random.default_rng(3).normal(size=40)
    target = np.repeat(base, 10)
    sample = RegressionSample(target, np.zeros(400), np.ones((1, 400)))
    low, high = interval_of("mae", sample)
    grouped_low, grouped_high = interval_of("mae", sample, np.repeat(np.arange(40), 10))
    assert grouped_high - grouped_low > 2.5 * (high - low)


def test_a_perfect_score_of_items_in_groups_is_as_uncertain_as_the_groups():
    low, _ = interval_of("accuracy", classified(300, 0), np.repeat(np.arange(30), 10))
    assert low == pytest.approx(0.88, abs=0.01)


@pytest.mark.parametrize(("count", "resamples"), [(1, 100), (50, 0)])
def test_nothing_to_vary_gives_no_interval(count, resamples):
    assert none(interval_of("mae", normal_sample(count), resamples=resamples))


def test_an_absent_class_has_no_interval_and_the_others_have_one_each():
    target = np.array([0, 0, 1, 1, 0, 1])
    predicted = np.array([0, 1, 1, 1, 0, 0])
    sample = ClassificationSample(target, predicted, np.full((6, 3), 1 / 3), np.ones((1, 6)))
    low, high = interval_of("recall", sample)
    assert low.shape == high.shape == (3,)
    assert np.isnan([low[2], high[2]]).all()
    assert (low[:2] < high[:2]).all()


def test_a_mean_over_classes_of_a_few_items_each_has_no_interval():
    assert none(interval_of("macro_f1", classified(28, 2, classes=5)))
    assert not none(interval_of("macro_f1", classified(56, 4, classes=5)))
    assert OfShare().least_per_class == 0


def test_the_mean_baseline_predicts_the_mean_of_the_training_targets():
    baseline = predict_mean(normal_sample(5), np.array([1.0, 2.0, 6.0]))
    assert baseline.prediction.tolist() == [3.0] * 5


def test_the_majority_baseline_predicts_the_most_frequent_training_class_and_the_frequencies():
    sample = ClassificationSample(np.array([0, 1]), np.array([0, 1]), np.eye(3)[:2], np.ones((1, 2)))
    baseline = predict_majority(sample, np.array([1, 1, 1, 2]))
    assert baseline.predicted.tolist() == [1, 1]
    assert baseline.probabilities.tolist() == [[0, 0.75, 0.25]] * 2
    assert accuracy(baseline) == [0.5]
