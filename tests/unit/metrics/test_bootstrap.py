import numpy as np
import pytest

from assay.metrics.baselines import predict_majority, predict_mean
from assay.metrics.bootstrap import intervals
from assay.metrics.classification import accuracy, recall
from assay.metrics.regression import mean_absolute_error, r_squared
from assay.metrics.samples import ClassificationSample, RegressionSample


def normal_sample(count, seed=0):
    target = np.random.default_rng(seed).normal(size=count)
    return RegressionSample(target, np.zeros(count), np.ones((1, count)))


def interval_of(metric, sample, groups=None, resamples=2000, confidence=0.95, seed=0, **keys):
    groups = np.arange(len(sample.target)) if groups is None else groups
    rng = np.random.default_rng(seed)
    return intervals({"m": metric}, sample, groups, rng, resamples=resamples, confidence=confidence, **keys)["m"]


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide():
    sample = normal_sample(400)
    errors = np.abs(sample.target)
    low, high = interval_of(mean_absolute_error, sample)
    standard_error = errors.std() / 20
    assert low == pytest.approx(errors.mean() - 1.96 * standard_error, abs=0.2 * standard_error)
    assert high == pytest.approx(errors.mean() + 1.96 * standard_error, abs=0.2 * standard_error)


def test_about_nineteen_of_twenty_intervals_cover_the_true_value():
    truth, covered = np.sqrt(2 / np.pi), 0
    for seed in range(100):
        low, high = interval_of(mean_absolute_error, normal_sample(100, seed), resamples=300)
        covered += low <= truth <= high
    assert 86 <= covered <= 100


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    sample = normal_sample(50)
    assert interval_of(r_squared, sample, seed=1) == interval_of(r_squared, sample, seed=1)
    assert interval_of(r_squared, sample, seed=1) != interval_of(r_squared, sample, seed=2)


def test_blocks_do_not_change_how_many_resamples_there_are(monkeypatch):
    sample = normal_sample(30)
    sizes = []

    def count_rows(resampled):
        sizes.append(len(resampled.weights))
        assert (resampled.weights.sum(axis=1) == 30).all()
        return mean_absolute_error(resampled)

    interval_of(count_rows, sample, resamples=100, block_elements=30 * 7)
    assert sum(sizes) == 100
    assert max(sizes) == 7


def test_items_of_one_group_are_drawn_together_which_widens_the_interval():
    base = np.random.default_rng(3).normal(size=40)
    target = np.repeat(base, 10)
    sample = RegressionSample(target, np.zeros(400), np.ones((1, 400)))
    low, high = interval_of(mean_absolute_error, sample)
    grouped_low, grouped_high = interval_of(mean_absolute_error, sample, np.repeat(np.arange(40), 10))
    assert grouped_high - grouped_low > 2.5 * (high - low)


@pytest.mark.parametrize(("count", "resamples"), [(1, 100), (5, 0)])
def test_nothing_to_vary_gives_no_interval(count, resamples):
    low, high = interval_of(mean_absolute_error, normal_sample(count), resamples=resamples)
    assert np.isnan(low)
    assert np.isnan(high)


def test_an_absent_class_has_no_interval_and_the_others_have_one_each():
    target = np.array([0, 0, 1, 1, 0, 1])
    predicted = np.array([0, 1, 1, 1, 0, 0])
    sample = ClassificationSample(target, predicted, np.full((6, 3), 1 / 3), np.ones((1, 6)))
    low, high = interval_of(recall, sample)
    assert low.shape == high.shape == (3,)
    assert np.isnan([low[2], high[2]]).all()
    assert (low[:2] < high[:2]).all()


def test_the_mean_baseline_predicts_the_mean_of_the_training_targets():
    baseline = predict_mean(normal_sample(5), np.array([1.0, 2.0, 6.0]))
    assert baseline.prediction.tolist() == [3.0] * 5


def test_the_majority_baseline_predicts_the_most_frequent_training_class_and_the_frequencies():
    sample = ClassificationSample(np.array([0, 1]), np.array([0, 1]), np.eye(3)[:2], np.ones((1, 2)))
    baseline = predict_majority(sample, np.array([1, 1, 1, 2]))
    assert baseline.predicted.tolist() == [1, 1]
    assert baseline.probabilities.tolist() == [[0, 0.75, 0.25]] * 2
    assert accuracy(baseline) == [0.5]
