import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assay.metrics.classification import calibration_error, calibration_table
from assay.metrics.samples import ClassificationSample


def binary_sample(confidence, correct, bins=10):
    confidence = np.asarray(confidence, dtype=float)
    target = np.where(correct, 1, 0)
    probabilities = np.stack([1 - confidence, confidence], axis=1)
    ones = np.ones(len(confidence), dtype=np.int64)
    return ClassificationSample(target, ones, probabilities, np.ones((1, len(ones))), calibration_bins=bins)


def error_by_the_definition(sample):
    total, edges = 0.0, np.linspace(0, 1, sample.calibration_bins + 1)
    correct = sample.predicted == sample.target
    for low, high in itertools.pairwise(edges):
        inside = (sample.confidence > low) & (sample.confidence <= high)
        if inside.any():
            total += inside.mean() * _without_chance(sample.confidence[inside].mean(), correct[inside])
    return max(total, 0.0)


def _without_chance(confidence, correct):
    """The gap, less what a normal error of its size adds to its absolute value (a folded normal distribution)."""
    gap = abs(correct.mean() - confidence)
    share = (correct.sum() + 0.5) / (len(correct) + 1)
    deviation = np.sqrt(share * (1 - share) / len(correct))
    return gap - (stats.foldnorm(gap / deviation, scale=deviation).mean() - gap)


def test_confident_and_right_half_the_time_is_an_error_of_half_the_confidence_gap():
    sample = binary_sample([0.95] * 400, [True, False] * 200)
    assert calibration_error(sample) == pytest.approx([0.45])


def test_chance_alone_is_no_error_on_average():
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(50):
        confidence = rng.uniform(0.5, 1, 300)
        errors.append(calibration_error(binary_sample(confidence, rng.random(300) < confidence))[0])
    assert np.mean(errors) < 0.035  # 0.055 as the gaps are


def test_a_confidence_equal_to_the_accuracy_is_no_error():
    assert calibration_error(binary_sample([0.75] * 4, [True, True, True, False])) == pytest.approx([0.0])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 80), bins=st.sampled_from([2, 7, 15]))
def test_the_error_equals_its_definition_written_as_a_loop(seed, count, bins):
    rng = np.random.default_rng(seed)
    sample = binary_sample(rng.random(count), rng.random(count) < 0.5, bins)
    assert calibration_error(sample)[0] == pytest.approx(error_by_the_definition(sample), abs=1e-9)


def test_the_table_has_one_row_per_bin_with_items_and_gives_the_error_back():
    rng = np.random.default_rng(1)
    sample = binary_sample(rng.random(200), rng.random(200) < 0.5)
    table = calibration_table(sample)
    assert table["count"].sum() == 200
    gaps = (table["accuracy"] - table["mean_confidence"]).abs() * table["count"] / 200
    assert gaps.sum() * 0.8 < calibration_error(sample)[0] < gaps.sum()
    assert (table["confidence_low"] < table["mean_confidence"]).all()
    assert (table["mean_confidence"] <= table["confidence_high"]).all()


def test_confidences_of_zero_and_one_have_a_bin():
    assert calibration_table(binary_sample([0.0, 1.0], [False, True]))["bin"].to_list() == [0, 9]
