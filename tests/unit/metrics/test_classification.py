import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from assay.metrics import classification
from assay.metrics.samples import ClassificationSample

CASES = given(seed=st.integers(0, 10_000), count=st.integers(1, 40), classes=st.integers(2, 6))
MANY = settings(max_examples=40, deadline=None)


def random_sample(seed, count, classes, weightings=4):
    """Few items and many classes, so that classes are often absent; coarse probabilities, so that scores tie."""
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.random((count, classes)), 1) + 0.05
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    target = rng.integers(0, classes, count)
    weights = rng.integers(0, 3, (weightings, count)).astype(float)
    weights[:, 0] += 1
    return ClassificationSample(target, probabilities.argmax(axis=1), probabilities, weights)


def by_reference(function, sample):
    """Call a scikit-learn metric once per weighting, on the items that have a weight."""
    values = []
    for row in sample.weights:
        kept = row > 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values.append(function(sample.target[kept], sample.predicted[kept], sample_weight=row[kept]))
    return np.array(values)


@MANY
@CASES
def test_confusion_equals_scikit_learns(seed, count, classes):
    sample = random_sample(seed, count, classes)
    expected = by_reference(
        lambda *a, **k: reference.confusion_matrix(*a, **k, labels=range(classes)),
        sample,
    )
    np.testing.assert_allclose(sample.confusion, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("metric", "function"),
    [
        (classification.accuracy, reference.accuracy_score),
        (classification.balanced_accuracy, reference.balanced_accuracy_score),
        (classification.macro_f1, lambda *a, **k: reference.f1_score(*a, **k, average="macro")),
    ],
    ids=["accuracy", "balanced_accuracy", "macro_f1"],
)
@MANY
@CASES
@pytest.mark.system
def test_each_summary_equals_scikit_learns(metric, function, seed, count, classes):
    sample = random_sample(seed, count, classes)
    np.testing.assert_allclose(metric(sample), by_reference(function, sample), atol=1e-9)


@pytest.mark.parametrize(
    ("metric", "position"), [(classification.precision, 0), (classification.recall, 1), (classification.f1, 2)]
)
@MANY
@CASES
@pytest.mark.system
def test_each_metric_per_class_equals_scikit_learns(metric, position, seed, count, classes):
    sample = random_sample(seed, count, classes)
    expected = by_reference(
        lambda *a, **k: reference.precision_recall_fscore_support(*a, **k, labels=range(classes), zero_division=np.nan)[
            position
        ],
        sample,
    )
    np.testing.assert_allclose(metric(sample), expected, atol=1e-9)


@MANY
@CASES
def test_log_loss_equals_scikit_learns(seed, count, classes):
    sample = random_sample(seed, count, classes)
    expected = [
        reference.log_loss(sample.target, sample.probabilities, sample_weight=row, labels=range(classes))
        for row in sample.weights
    ]
    np.testing.assert_allclose(classification.log_loss(sample), expected, atol=1e-9)


@MANY
@given(seed=st.integers(0, 10_000), count=st.integers(2, 40))
def test_roc_auc_equals_scikit_learns_with_ties(seed, count):
    sample = random_sample(seed, count, 2)
    scores = sample.probabilities[:, 1]
    for value, row in zip(classification.roc_auc(sample), sample.weights, strict=True):
        kept = row > 0
        if len(set(sample.target[kept])) < 2:
            assert np.isnan(value)
        else:
            expected = reference.roc_auc_score(sample.target[kept], scores[kept], sample_weight=row[kept])
            assert value == pytest.approx(expected, abs=1e-9)


def test_a_target_with_probability_zero_has_a_finite_loss():
    sample = ClassificationSample(np.array([1]), np.array([0]), np.array([[1.0, 0.0]]), np.ones((1, 1)))
    assert classification.log_loss(sample) == pytest.approx([36.04], abs=0.01)


def test_the_recall_of_an_absent_class_is_not_defined_rather_than_zero():
    sample = ClassificationSample(np.array([0, 0]), np.array([0, 0]), np.array([[1.0, 0], [1, 0]]), np.ones((1, 2)))
    assert classification.recall(sample)[0, 0] == 1.0
    assert np.isnan(classification.recall(sample)[0, 1])
