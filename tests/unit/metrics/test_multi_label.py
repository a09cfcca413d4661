import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from assay.metrics import multi_label
from assay.metrics.samples import MultiLabelSample

CASES = given(seed=st.integers(0, 10_000), count=st.integers(1, 30), classes=st.integers(2, 6))
MANY = settings(max_examples=12, deadline=None)


def random_sample(seed, count, classes, weightings=3):
    """Few items and rare classes, so that classes are absent and rows empty; coarse probabilities, so that they tie."""
    rng = np.random.default_rng(seed)
    target = rng.random((count, classes)) < rng.random(classes) ** 2
    probabilities = np.round(rng.random((count, classes)), 1)
    weights = rng.integers(0, 3, (weightings, count)).astype(float)
    weights[:, 0] += 1
    return MultiLabelSample(target, probabilities > rng.random(), probabilities, weights)


def by_reference(function, sample, answers):
    """Call a scikit-learn metric once per weighting, on the items that have a weight."""
    values = []
    for row in sample.weights:
        kept = row > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(function(sample.target[kept], answers[kept], sample_weight=row[kept]))
    return np.array(values)


def f1_score(average):
    return lambda *a, **k: reference.f1_score(*a, **k, average=average, zero_division=np.nan)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (multi_label.macro_f1, f1_score("macro")),
        (multi_label.micro_f1, f1_score("micro")),
        (multi_label.exact_match, reference.accuracy_score),
        (multi_label.hamming_loss, reference.hamming_loss),
    ],
    ids=["macro_f1", "micro_f1", "exact_match", "hamming_loss"],
)
@MANY
@CASES
def test_each_summary_equals_scikit_learns(metric, function, seed, count, classes):
    sample = random_sample(seed, count, classes)
    np.testing.assert_allclose(metric(sample), by_reference(function, sample, sample.predicted), atol=1e-9)


@MANY
@CASES
def test_each_metric_per_class_equals_scikit_learns(seed, count, classes):
    sample = random_sample(seed, count, classes)
    expected = by_reference(
        lambda *a, **k: reference.precision_recall_fscore_support(*a, **k, zero_division=np.nan)[:3],
        sample,
        sample.predicted,
    )
    values = [metric(sample) for metric in (multi_label.precision, multi_label.recall, multi_label.f1)]
    np.testing.assert_allclose(np.stack(values, axis=1), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (multi_label.ranking_average_precision, reference.label_ranking_average_precision_score),
        (multi_label.coverage_error, reference.coverage_error),
    ],
    ids=["ranking_average_precision", "coverage_error"],
)
@MANY
@CASES
def test_each_ranking_equals_scikit_learns(metric, function, seed, count, classes):
    sample = random_sample(seed, count, classes)
    np.testing.assert_allclose(metric(sample), by_reference(function, sample, sample.probabilities), atol=1e-9)


@MANY
@CASES
def test_average_precision_equals_scikit_learns_where_the_class_occurs(seed, count, classes):
    sample = random_sample(seed, count, classes)
    values = multi_label.average_precision(sample)
    expected = by_reference(
        lambda *a, **k: reference.average_precision_score(*a, **k, average=None), sample, sample.probabilities
    )
    occurs = sample.total(sample.target) > 0
    np.testing.assert_allclose(values[occurs], expected[occurs], atol=1e-9)
    assert np.isnan(values[~occurs]).all()


def test_a_class_that_neither_occurs_nor_is_predicted_has_no_score():
    nothing = np.zeros((3, 2), dtype=bool)
    sample = MultiLabelSample(nothing, nothing, np.zeros((3, 2)), np.ones((1, 3)))
    assert np.isnan(multi_label.macro_f1(sample)).all()
    assert np.isnan(multi_label.micro_f1(sample)).all()
    assert multi_label.exact_match(sample) == 1.0
    assert multi_label.coverage_error(sample) == 0.0


def test_a_worked_example_of_the_rankings():
    """The first item's class is third; the second item's two classes are first and second."""
    target = np.array([[True, False, False], [True, True, False]])
    probabilities = np.array([[0.1, 0.5, 0.9], [0.8, 0.7, 0.6]])
    sample = MultiLabelSample(target, probabilities >= 0.5, probabilities, np.ones((1, 2)))
    assert multi_label.ranking_average_precision(sample) == pytest.approx([(1 / 3 + 1) / 2])
    assert multi_label.coverage_error(sample) == pytest.approx([(3 + 2) / 2])
