"""Names, texts and numbers as MLflow takes them; MLflow itself is not needed."""

import posixpath
import re

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assay.tracking.content import (
    LONGEST_NAME,
    LONGEST_PARAMETER,
    MetricPoint,
    as_name,
    mlflow_tags,
    parameters_of,
    points_of_analysis,
    points_of_training,
)


def test_a_spec_becomes_dotted_names_and_texts():
    spec = {
        "task": "classification",
        "name": "ours",
        "description": "first try",
        "tags": {"owner": "mia"},
        "seed": 1,
        "trained_model": {
            "learner": {"learning_rate": 0.001, "class_weights": {"cat dog": 2.0}, "loss": None},
            "data_description": {"class_mapping": {}, "classes": ["a", "b"], "multi_label": False},
        },
    }
    assert parameters_of(spec) == {
        "task": "classification",
        "seed": "1",
        "trained_model.learner.learning_rate": "0.001",
        "trained_model.learner.class_weights.cat dog": "2.0",
        "trained_model.learner.loss": "null",
        "trained_model.data_description.class_mapping": "{}",
        "trained_model.data_description.classes": '["a","b"]',
        "trained_model.data_description.multi_label": "false",
    }
    assert mlflow_tags("ab12", spec, "2026-x")["assay.tags.owner"] == "mia"
    assert mlflow_tags("ab12", spec, "2026-x")["mlflow.note.content"] == "first try"


def test_values_that_are_too_long_are_cut():
    (value,) = parameters_of({"long": "x" * 7000}).values()
    assert (len(value), value[-1]) == (LONGEST_PARAMETER, "…")


@given(st.text(max_size=400))
def test_any_text_becomes_a_name_that_mlflow_accepts(text):
    name = as_name(text)
    assert re.fullmatch(r"[/\w.\- :]+", name)
    assert len(name) <= LONGEST_NAME
    assert posixpath.normpath(name) == name  # what MLflow asks of names, as they become paths
    assert name not in (".", "..")
    assert not name.startswith(("/", "../"))


def test_names_stay_as_they_are_where_they_can():
    assert as_name("test/map50:95") == "test/map50:95"
    assert as_name("épreuve/top-3 accuracy") == "épreuve/top-3 accuracy"
    assert as_name("a//b/../%c") == "a/b/_c"


def test_epochs_are_steps_and_values_that_are_no_numbers_are_left_out():
    rows = [(1, "train", "loss", 0.5), (2, "train", "loss", float("nan")), (2, "validation", "mae", 1.5)]
    history = pl.DataFrame(rows, ["epoch", "subset", "metric", "value"], orient="row")
    assert points_of_training(history) == [
        MetricPoint("epoch/train/loss", 0.5, 1),
        MetricPoint("epoch/validation/mae", 1.5, 2),
    ]


def test_final_metrics_come_with_interval_and_baseline_and_not_for_every_class():
    columns = ["subset", "class", "metric", "value", "ci_low", "ci_high", "baseline"]
    rows = [("test", "", "accuracy", 0.9, 0.8, 1.0, 0.5), ("test", "cat", "f1", 0.7, None, None, None)]
    rows += [("test", "", "r2", None, None, None, 0.0)]
    assert points_of_analysis(pl.DataFrame(rows, columns, orient="row")) == [
        MetricPoint("test/accuracy", 0.9),
        MetricPoint("test/accuracy_ci_low", 0.8),
        MetricPoint("test/accuracy_ci_high", 1.0),
        MetricPoint("test/accuracy_baseline", 0.5),
        MetricPoint("test/r2_baseline", 0.0),
    ]
