"""The tracking resource: configured by environment variables, and never revealing a password."""

import dagster as dg

from resources.defaults import default_store
from resources.tracking import Tracker, in_one_line


def test_without_the_variable_nothing_is_tracked(monkeypatch, tmp_path):
    monkeypatch.delenv("ASSAY_MLFLOW_URI", raising=False)
    assert default_store().tracker.uri == ""
    assert Tracker().stage_done("run", tmp_path, "ab12", "analysis") == ""
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_names_the_variable_and_not_its_value(monkeypatch):
    monkeypatch.setenv("ASSAY_MLFLOW_URI", "mysql://mia:geheim@server/db")
    monkeypatch.setenv("ASSAY_MLFLOW_EXPERIMENT", "digits")
    tracker = default_store().tracker
    assert isinstance(tracker.uri, dg.EnvVar)
    assert "geheim" not in repr(tracker)
    assert tracker.experiment == "digits"
    assert tracker.process_config_and_initialize().uri == "mysql://mia:geheim@server/db"


def test_other_stages_log_nothing(tmp_path):
    tracker = Tracker(uri="sqlite:////nowhere/mlflow.db")
    assert tracker.stage_done("run", tmp_path, "ab12", "crops") == tracker.tests_done("run", tmp_path, "ab12", "splits")


def test_errors_are_reported_in_one_line_without_the_password():
    uri = "mysql://mia:geheim@server/db"
    told = in_one_line(ValueError(f"{uri} said no to mia with geheim\n" + "x" * 1000), uri)
    assert told == "ValueError: $ASSAY_MLFLOW_URI said no to mia with ***"
    assert in_one_line(ModuleNotFoundError("No module named 'mlflow'"), uri).endswith("pip install 'assay[mlflow]'")
