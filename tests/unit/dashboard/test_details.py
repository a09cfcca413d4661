"""One experiment's tables and spec."""

import pytest

from assay.dashboard.details import FAILED, PASSED, baseline_verdict, check_table, metric_table, spec_text
from assay.spec.yaml_text import read_mapping
from tests.helpers.dashboard_cases import experiment, score
from tests.helpers.dashboard_storage import CHECKS, folder_of, make_storage


def test_metrics_stand_metric_by_metric_with_interval_and_baseline():
    scores = {
        "test": {"accuracy": score(0.9, 0.8, 1.0), "log_loss": score(0.3, unit="nats", baseline=None)},
        "validation": {"accuracy": score(0.95)},
    }
    rows = metric_table(experiment(scores=scores), ["validation", "test"]).rows()
    assert rows == [
        ("accuracy", "validation", 0.95, None, None, 0.1, "not surely: majority class", 200),
        ("accuracy", "test", 0.9, None, "[0.800, 1.000]", 0.1, "yes: majority class", 200),
        ("log loss", "test", 0.3, "nats", None, None, None, 200),
    ]
    assert metric_table(experiment(scores={}), []).is_empty()


@pytest.mark.parametrize(
    ("name", "made", "expected"),
    [
        ("accuracy", score(0.9, 0.8, 1.0), "yes: majority class"),
        ("accuracy", score(0.9, 0.05, 1.0), "not surely: majority class"),
        ("accuracy", score(0.1), "no: majority class"),
        ("accuracy", score(0.9), "not surely: majority class"),
        ("mae", score(0.05, 0.01, 0.09), "yes: majority class"),
        ("mae", score(0.05, 0.01, 0.2), "not surely: majority class"),
        ("mae", score(None), None),
        ("of_a_package_not_installed", score(0.9), None),
    ],
)
def test_a_metric_is_judged_by_its_interval(name, made, expected):
    assert baseline_verdict(name, made) == expected


@pytest.mark.system
def test_failed_checks_come_first(tmp_path):
    root = make_storage(tmp_path).root
    assert check_table(root, "ran").is_empty()
    (folder_of(root, "ran") / "exp_tests.csv").write_text(CHECKS)
    assert check_table(root, "ran").rows() == [
        (FAILED, "gate", "mae is 0.5.", "mae < 0.1"),
        (PASSED, "files exist", "All there.", "all of them"),
    ]
    assert check_table(root, "nobody").is_empty()
    (folder_of(root, "ran") / "exp_tests.csv").write_text("no,list\n1,2\n")
    ((outcome, name, problem, _),) = check_table(root, "ran").rows()
    assert (outcome, name) == (FAILED, "exp_tests.csv")
    assert "is no list of tests" in problem


def test_a_spec_reads_as_yaml():
    assert read_mapping(spec_text(experiment()), "")["trained_model"] == {"learner": {"learning_rate": 0.001}}
