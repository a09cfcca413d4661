import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from assay.metrics import regression
from assay.metrics.samples import RegressionSample

PAIRS = {
    regression.mean_squared_error: reference.mean_squared_error,
    regression.root_mean_squared_error: reference.root_mean_squared_error,
    regression.mean_absolute_error: reference.mean_absolute_error,
    regression.r_squared: reference.r2_score,
}


def sample_of(target, prediction, weights=None):
    target = np.asarray(target, dtype=float)
    weights = np.ones((1, len(target))) if weights is None else weights
    return RegressionSample(target, np.asarray(prediction, dtype=float), weights)


@pytest.mark.parametrize("metric", PAIRS, ids=lambda metric: metric.__name__)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 60), scale=st.sampled_from([1e-3, 1.0, 1e6]))
def test_each_metric_equals_scikit_learns_under_any_weights(metric, seed, count, scale):
    rng = np.random.default_rng(seed)
    target, prediction = rng.normal(size=(2, count)) * scale + 3 * scale
    weights = rng.integers(0, 4, (5, count)).astype(float)
    weights[:, :2] += 1
    values = metric(sample_of(target, prediction, weights))
    expected = [PAIRS[metric](target, prediction, sample_weight=row) for row in weights]
    np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_a_single_row_has_errors_but_no_r_squared():
    sample = sample_of([4.0], [3.0])
    assert regression.mean_absolute_error(sample) == [1.0]
    assert np.isnan(regression.r_squared(sample)).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9])
def test_r_squared_of_equal_targets_is_not_defined(constant):
    assert np.isnan(regression.r_squared(sample_of([constant] * 7, np.arange(7)))).all()


def test_r_squared_of_a_resample_with_one_value_is_not_defined():
    sample = sample_of([0.1, 0.7, 0.3], [0.2, 0.5, 0.3], weights=np.array([[3.0, 0, 0], [1, 1, 1]]))
    undefined, defined = regression.r_squared(sample)
    assert np.isnan(undefined)
    assert defined < 1


@pytest.mark.defect("A8")
def test_errors_are_in_the_labels_unit_and_squared_errors_in_its_square():
    millimetres = sample_of([10.0, 20.0], [13.0, 24.0])
    metres = sample_of([0.010, 0.020], [0.013, 0.024])
    assert regression.mean_absolute_error(millimetres) == pytest.approx(1e3 * regression.mean_absolute_error(metres))
    assert regression.mean_squared_error(millimetres) == pytest.approx(1e6 * regression.mean_squared_error(metres))
