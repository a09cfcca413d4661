"""The overview's table and the best of every task."""

from datetime import datetime

import polars as pl

from assay.comparison.load import ExperimentCost
from assay.dashboard.overview import best_of, overview_columns, overview_frame, rankings, subsets_of
from tests.helpers.dashboard_cases import RATE, experiment, score

ACCURATE = experiment("good", 0.1, scores={"test": {"accuracy": score(0.95, 0.9, 1.0), "log_loss": score(0.2)}})
WORSE = experiment("bad", 0.2, scores={"validation": {"accuracy": score(0.99)}, "test": {"accuracy": score(0.5)}})
FAILED = experiment("failed", scores={}, note="no results yet: assay run failed", tags={"owner": "mia"})
HOUSES = experiment("houses", task="regression", name="", scores={"test": {"mae": score(3.0, unit="m")}})


def table(*experiments, subset="test", keys=()):
    ranked = rankings(experiments, subset)
    columns = overview_columns(experiments, ranked, subset, dict(keys))
    return {column.name: column for column in columns}, overview_frame(columns)


def test_one_task_shows_all_its_metrics_under_their_names():
    columns, frame = table(ACCURATE, WORSE)
    assert columns["value"].label == "accuracy on test"
    assert frame["value"].to_list() == [0.95, 0.5]
    assert frame["interval"].to_list() == ["[0.900, 1.000]", None]
    assert frame["baseline"].to_list() == [0.1, 0.1]
    assert frame["metric log_loss"].to_list() == [0.2, None]
    assert not {"task", "metric", "note"} & set(columns)


def test_several_tasks_show_the_main_metric_of_each_with_its_unit():
    columns, frame = table(ACCURATE, HOUSES)
    assert columns["value"].label == "Metric on test"
    assert frame.select("task", "metric", "value").rows() == [
        ("classification", "accuracy", 0.95),
        ("regression", "MAE (m)", 3.0),
    ]
    assert "metric log_loss" not in columns


def test_another_subset_shows_its_own_metrics_and_what_has_none_is_empty():
    _, frame = table(ACCURATE, WORSE, subset="validation")
    assert frame["value"].to_list() == [None, 0.99]


def test_an_experiment_without_results_says_why():
    columns, frame = table(FAILED)
    assert frame["note"].to_list() == ["no results yet: assay run failed"]
    assert frame["value"].to_list() == [None]
    assert frame.schema["interval"] == pl.String()
    assert columns["value"].label == "Metric on test"


def test_evaluations_name_the_experiment_whose_model_they_have():
    judge = experiment("judge", evaluates="good")
    assert table(ACCURATE, judge)[1]["evaluates"].to_list() == [None, "good"]
    assert "evaluates" not in table(ACCURATE, WORSE)[0]


def test_keys_are_columns_of_numbers_if_all_values_are():
    _, frame = table(ACCURATE, WORSE, FAILED, keys={RATE: "learning_rate", "tags.owner": "owner"})
    assert frame[f"key {RATE}"].to_list() == [0.1, 0.2, 0.001]
    assert frame["key tags.owner"].to_list() == [None, None, "mia"]
    open_value, word = (experiment("other", keys={RATE: value}) for value in (None, "auto"))
    assert table(ACCURATE, open_value, keys={RATE: "rate"})[1][f"key {RATE}"].to_list() == [0.1, None]
    assert table(ACCURATE, word, keys={RATE: "rate"})[1][f"key {RATE}"].to_list() == ["0.1", "auto"]


def test_start_times_and_tags_are_columns():
    _, frame = table(FAILED)
    assert frame["started"].to_list() == [datetime(2026, 5, 3, 12)]
    assert frame["tags"].to_list() == ["owner: mia"]


def test_the_task_with_most_experiments_comes_first_and_its_best_is_known():
    ranked = rankings([HOUSES, WORSE, ACCURATE], "test")
    assert [(each.task, best_of(each).experiment_id) for each in ranked] == [
        ("classification", "good"),
        ("regression", "houses"),
    ]
    assert best_of(rankings([FAILED], "test")[0]) is None
    undefined = experiment("undefined", scores={"test": {"accuracy": score(None)}})
    assert best_of(rankings([undefined], "test")[0]) is None


def test_subsets_that_people_want_come_first():
    assert subsets_of([ACCURATE, WORSE]) == ["test", "validation"]
    assert subsets_of([experiment(scores={"mine": {}, "validation": {}})]) == ["validation", "mine"]
    assert subsets_of([FAILED]) == []


def test_columns_that_repeat_another_or_are_the_same_in_every_row_are_left_out():
    columns, _ = table(ACCURATE, WORSE, keys={"trained_model.model.kind": "kind"})
    assert not {"name", "model"} & set(columns)
    assert "name" in table(ACCURATE, HOUSES)[0]


def test_costs_are_a_column_where_any_is_known():
    costly = experiment("costly", cost=ExperimentCost(12.5, 20.0, 0.0, 300.0, 10))
    columns, frame = table(costly, WORSE)
    assert frame["cost"].to_list() == [12.5, None]
    assert columns["cost"].label == "Cost (s)"
    assert "cost" not in table(ACCURATE, WORSE)[0]
    assert costly.entry("test").cost == costly.cost
