"""Intervals of differences: what they are on cases worked out by hand, and where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from assay.metrics.paired import LEAST_APART, LEAST_PAIRED, paired_intervals
from assay.metrics.registry import Metric, get_metric
from assay.metrics.regression import mean_absolute_error
from assay.metrics.samples import ClassificationSample, RegressionSample
from tests.campaigns.coverage import PAIRS, measure


def numbers(errors):
    return RegressionSample(np.zeros(len(errors)), np.asarray(errors, float), np.ones((1, len(errors))))


def classified(right, classes=2):
    """Return a sample of alternating classes that is right where ``right`` says so."""
    target = np.arange(len(right)) % classes
    predicted = np.where(right, target, (target + 1) % classes)
    return ClassificationSample(target, predicted, np.eye(classes)[predicted], np.ones((1, len(right))))


def interval_of(metric, one, other, groups=None, resamples=500):
    groups = np.arange(len(one.target)) if groups is None else groups
    task = "regression" if isinstance(one, RegressionSample) else "classification"
    metrics = {"m": get_metric(metric, task) if isinstance(metric, str) else metric}
    rng = np.random.default_rng(0)
    return paired_intervals(metrics, (one, other), groups, rng, resamples=resamples, confidence=0.95)["m"]


def none(ends):
    return all(np.isnan(end).all() for end in ends)


@pytest.mark.parametrize(("count", "known"), [(2, False), (LEAST_PAIRED - 1, False), (LEAST_PAIRED, True)])
def test_a_difference_on_few_items_has_no_interval(count, known):
    errors = np.random.default_rng(1).normal(size=count)
    assert none(interval_of("mae", numbers(errors), numbers(errors + 9))) is not known


def test_a_difference_of_accuracies_has_the_interval_of_bonett_and_price():
    """Items that only one model has right: 12 and 4 of 100; worked out by hand with one more of each."""
    one, other = np.ones(100, bool), np.ones(100, bool)
    one[:12], other[12:16] = False, False
    won, lost = 13 / 102, 5 / 102
    half = 1.959964 * ((won + lost - (won - lost) ** 2) / 102) ** 0.5
    ends = interval_of("accuracy", classified(one), classified(other))
    assert np.allclose(ends, (won - lost - half, won - lost + half))


def test_models_that_agree_everywhere_may_still_differ_in_accuracy():
    low, high = interval_of("accuracy", classified(np.ones(60, bool)), classified(np.ones(60, bool)))
    assert low == pytest.approx(-high)
    assert 0.04 < high < 0.08


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_a_difference_that_rests_on_few_items_has_no_interval(metric):
    right = np.ones(200, bool)
    few, enough = right.copy(), right.copy()
    few[: LEAST_APART - 1], enough[:LEAST_APART] = False, False
    assert none(interval_of(metric, classified(right), classified(few)))
    low, high = interval_of(metric, classified(right), classified(enough))
    assert low < -0.1 < high < 0


def test_classes_one_by_one_have_no_interval_of_a_difference():
    right = np.arange(200) % 3 != 0
    low, high = interval_of("recall", classified(right), classified(~right))
    assert low.shape == high.shape == (2,)
    assert np.isnan([low, high]).all()


def test_items_of_one_group_are_drawn_together():
    right, wrong = np.ones(400, bool), np.ones(400, bool)
    wrong[:200] = False
    groups = np.repeat(np.arange(40), 10)
    low, high = interval_of("accuracy", classified(right), classified(wrong))
    grouped_low, grouped_high = interval_of("accuracy", classified(right), classified(wrong), groups)
    assert grouped_high - grouped_low > 2.5 * (high - low)


def test_a_difference_of_means_below_zero_is_not_cut_at_zero():
    errors = np.abs(np.random.default_rng(2).normal(size=100))
    low, high = interval_of("mae", numbers(errors), numbers(errors + 0.5 + errors / 10))
    assert 0.5 < low < high
    low, high = interval_of("mae", numbers(errors + 0.5 + errors / 10), numbers(errors))
    assert low < high < -0.5


@pytest.mark.parametrize("metric", ["rmse", "mse", "r2"])
def test_squares_have_an_interval_where_the_tails_of_both_are_light(metric):
    rng = np.random.default_rng(3)
    one, other, heavy = rng.normal(size=400), rng.normal(0, 2, 400), rng.standard_t(3, 400)
    target = rng.normal(0, 3, 400)

    def sample(errors):
        return replace(numbers(errors), target=target, prediction=target + errors)

    low, high = interval_of(metric, sample(one), sample(other))
    change = [float(get_metric(metric, "regression").compute(sample(each))[0]) for each in (one, other)]
    assert low < change[1] - change[0] < high
    assert none(interval_of(metric, sample(one), sample(heavy)))
    assert none(interval_of(metric, sample(heavy), sample(one)))
    assert none(interval_of(metric, replace(sample(one), target=target * 0 + 1, prediction=one), sample(heavy)))


@pytest.mark.parametrize("metric", ["log_loss", "calibration_error"])
def test_probabilities_of_a_hundred_items_tell_no_difference(metric):
    right = np.arange(100) % 10 != 0
    assert none(interval_of(metric, classified(right), classified(~right)))


def test_a_metric_of_a_package_has_percentiles():
    errors = np.random.default_rng(4).normal(size=200)
    metric = Metric("regression", mean_absolute_error, "mine", False)
    ours = interval_of(metric, numbers(errors), numbers(errors * 2), resamples=4000)
    theirs = interval_of("mae", numbers(errors), numbers(errors * 2), resamples=4000)
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@pytest.mark.system
@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.name)
def test_about_nineteen_of_twenty_intervals_of_differences_hold_the_true_one(kind):
    cells = list(measure(kind, 100, 60, seed=3))
    assert [str(cell) for cell in cells if cell.fails] == []
    assert any(cell.printed for cell in cells)
