import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from assay.training.class_targets import LabelsTarget
from assay.training.metrics import LabelsRunningMetric, best_thresholds


def test_no_other_threshold_has_a_better_f1():
    rng = np.random.default_rng(0)
    for _ in range(8):
        probabilities, has = np.round(rng.random(8), 1), rng.random(8) < 0.4
        (threshold,) = best_thresholds(torch.tensor(probabilities)[:, None], torch.tensor(has)[:, None])
        others = [f1_score(has, probabilities >= other, zero_division=0) for other in np.arange(-0.05, 1.1, 0.1)]
        if has.any() and not has.all():
            assert f1_score(has, probabilities >= threshold, zero_division=0) == pytest.approx(max(others))


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken():
    probabilities = torch.tensor([[0.9], [0.4], [0.2]])
    assert best_thresholds(probabilities, torch.tensor([[1.0], [0.0], [0.0]])) == (pytest.approx(0.65),)


def test_classes_that_nothing_or_everything_has_keep_one_half():
    probabilities = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    assert best_thresholds(probabilities, torch.tensor([[0.0, 1.0]] * 4)) == (0.5, 0.5)


def test_the_running_metric_equals_scikit_learn_over_several_batches():
    rng = np.random.default_rng(1)
    outputs, targets = rng.normal(size=(30, 4)), rng.random((30, 4)) < 0.3
    metric = LabelsRunningMetric(
        LabelsTarget(column="label", classes=("a", "b", "c", "d"), places={}, thresholds=(0.5,) * 4)
    )
    for part in np.split(np.arange(30), [7, 19]):
        metric.add(torch.tensor(outputs[part]), torch.tensor(targets[part]).float())
    values = metric.values()
    assert values["macro_f1"] == pytest.approx(f1_score(targets, outputs >= 0, average="macro"))
    assert values["exact_match"] == pytest.approx((targets == (outputs >= 0)).all(axis=1).mean())
