import subprocess
import sys

import pytest

from assay.errors import AssayError
from assay.metrics.registry import BUILT_IN_METRICS, Metric, get_metric, get_metrics
from assay.spec.analysis import TASK_METRICS, AnalysisSection, ResultAnalyzer


@pytest.fixture
def installed(install_package):
    """Installs a package with one module that registers an entry point."""

    def install(group, name, module_text, target="added:THING"):
        install_package(group, name, target, added=module_text)

    return install


MEDIAN = """
import numpy as np
from assay.metrics.registry import Metric
THING = Metric("regression", lambda sample: np.full(len(sample.weights), 7.0), "median error", False, "{unit}")
"""


def test_the_spec_lists_exactly_the_metrics_that_exist():
    assert {task: tuple(metrics) for task, metrics in BUILT_IN_METRICS.items()} == TASK_METRICS


def test_a_name_that_several_tasks_have_means_the_same_in_each():
    meanings = {
        (name, metric.label, metric.higher_is_better, metric.per_class)
        for metrics in BUILT_IN_METRICS.values()
        for name, metric in metrics.items()
    }
    assert len(meanings) == len({name for name, *_ in meanings})


def test_an_installed_package_adds_a_metric_that_is_imported_only_when_used(installed):
    installed("assay.metrics", "median_error", MEDIAN)
    assert ResultAnalyzer(metrics=["median_error"]).metrics_for("regression") == ("median_error",)
    assert "added" not in sys.modules
    assert get_metric("median_error").label == "median error"
    assert "added" in sys.modules


def test_a_plugin_that_is_no_metric_is_an_error_that_names_it(installed):
    installed("assay.metrics", "median_error", "THING = 3")
    with pytest.raises(AssayError, match=r"median_error.*added:THING.*is a int, expected a assay.metrics"):
        get_metric("median_error")


def test_a_plugin_that_can_not_be_imported_is_an_error_that_names_it(installed):
    installed("assay.metrics", "median_error", "import no_such_package")
    with pytest.raises(AssayError, match=r"median_error.*can't be imported.*no_such_package"):
        get_metric("median_error")


def test_a_misspelt_metric_is_an_error_with_the_nearest_name():
    with pytest.raises(ValueError, match="Did you mean 'accuracy'"):
        AnalysisSection(result_analyzer={"metrics": ["acuracy"]})
    with pytest.raises(AssayError, match="Did you mean 'accuracy'"):
        get_metric("acuracy")


def test_a_metric_of_another_task_is_an_error_that_names_both():
    with pytest.raises(ValueError, match=r"metrics: mae belong to task regression, but task is classification"):
        ResultAnalyzer(metrics=["accuracy", "mae"]).metrics_for("classification")
    with pytest.raises(AssayError, match="mae is not a metric of classification, but of regression"):
        get_metrics(["mae"], "classification")


def test_no_metrics_asked_for_means_all_of_the_task_and_twice_means_once():
    assert ResultAnalyzer().metrics_for("regression") == TASK_METRICS["regression"]
    assert ResultAnalyzer(metrics=["mse", "mae", "mse"]).metrics_for("regression") == ("mse", "mae")


def test_roc_auc_is_only_computed_for_two_classes():
    names = ("accuracy", "roc_auc")
    assert set(get_metrics(names, "classification", 2)) == {"accuracy", "roc_auc"}
    assert set(get_metrics(names, "classification", 10)) == {"accuracy"}


def test_a_unit_derives_from_the_labels_and_is_empty_when_that_is_not_known():
    assert get_metric("mse").unit_for("mm") == "mm²"
    assert get_metric("mse").unit_for("") == ""
    assert get_metric("log_loss").unit_for("") == "nats"


def test_which_way_is_better_belongs_to_the_metric():
    assert get_metric("mae").beats(1.0, 2.0)
    assert not get_metric("accuracy").beats(0.5, 0.5)
    assert isinstance(get_metric("accuracy"), Metric)


def test_the_spec_section_is_read_without_numpy():
    code = "import sys, assay.spec.analysis; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
