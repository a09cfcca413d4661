"""Collecting: metrics stand beside the spec that made them, and every gap says what to do."""

import json
import shutil

import polars as pl
import pytest

from assay.comparison.load import COSTS_OF_STAGES, ExperimentCost, collect, contradict, costs_by_experiment
from assay.comparison.ranking import chosen_ids, selection_name
from assay.errors import DataError, IdError, SpecError
from assay.experiments.costs import record_costs, stage_costs
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from tests.helpers.comparison_cases import run, start, values

RATE = "trained_model.learner.learning_rate"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Experiments in every state, as a user may have them."""
    root = tmp_path_factory.mktemp("storage")
    store = SpecFiles(root / "experiments", root)
    for number, name in enumerate(("ran", "edited", "renamed", "failed", "deleted", "validated"), start=1):
        store.create(values(number / 1000), name)
        run(store, name, subset="validation" if name == "validated" else "test")
    store.store("edited", values(0.5))
    store.store("renamed", values(0.003, name="another", tags={"owner": "mia"}))
    store.store("failed", values(0.5))
    start(store, "failed")
    made = ExperimentFolders(root).find("deleted").path / "manifest.json"
    shutil.rmtree(root / "data" / "analysis" / json.loads(made.read_text())["results"]["analysis"])
    store.create(values(tags={"sweep": "grid", "api_key": "s3cret"}, remove_key_list=["learning_rate"]), "new")
    store.create(values(tags={"sweep": "grid"}), "broken")
    store.path("broken").write_text("task: [")
    return store


def entry(store, experiment_id, subset="test"):
    (found,) = collect(store.root, store, [experiment_id], subset).entries
    return found


@pytest.mark.system
def test_an_experiment_that_ran_has_scores_epochs_keys_and_a_folder(store):
    found = entry(store, "ran")
    assert (found.scores["mae"].value, found.scores["mae"].low, found.scores["mae"].unit) == (0.5, 0.4, "mm")
    assert (found.epochs, found.keys[RATE], found.note) == (3, 0.001, "")
    assert found.folder.is_dir()


def test_an_experiment_that_never_ran_says_how_to_run_it(store):
    found = entry(store, "new")
    assert (found.scores, found.note, found.task) == ({}, "no results yet: assay run new", "regression")


def test_a_file_edited_since_is_noted_and_the_metrics_keep_their_own_spec(store):
    found = entry(store, "edited")
    assert (found.keys[RATE], found.note) == (0.002, "its file was edited since: assay run edited")
    assert entry(store, "renamed").note == ""


def test_metrics_of_an_earlier_spec_are_not_credited_to_the_spec_of_a_run_that_failed(store):
    found = entry(store, "failed")
    assert found.scores == {}
    assert found.note == "its last run did not finish (trained_model is of an earlier spec): assay run failed"


def test_a_training_that_was_ended_on_purpose_is_noted_with_how_it_goes_on(store):
    for name, stop_after in (("pruned", 3), ("over-before", 4)):
        own = values()
        own["trained_model"]["train_params"] = {"stop_after": stop_after}
        store.create(own, name)
        run(store, name)
    note = "pruned at epoch 3; to train it to its end, take stop_after out of its file: assay run pruned"
    found = entry(store, "pruned")
    assert (found.note, found.scores["mae"].value) == (note, 0.5)
    assert entry(store, "over-before").note == ""


def test_results_that_were_deleted_are_incomplete(store):
    assert entry(store, "deleted").note == "its results are incomplete: assay run deleted"


def test_another_subset_is_named(store):
    assert entry(store, "validated").note == "no results on test, only on validation: choose one by --subset"
    assert entry(store, "validated", "validation").scores["mae"].value == 0.5


def test_a_file_that_is_not_valid_does_not_hide_the_others(store):
    broken, fine = collect(store.root, store, ["broken", "ran"], "test").entries
    assert broken.task == ""
    assert broken.note.startswith("its file is not valid (")
    assert "broken.yaml: " in broken.note
    assert broken.note.endswith("): assay validate broken")
    assert fine.task == "regression"


def test_an_experiment_whose_file_was_removed_is_compared_and_marked(tmp_path):
    store = SpecFiles(tmp_path / "experiments", tmp_path)
    store.create(values(0.001), "ran")
    run(store, "ran", subset="test")
    store.path("ran").unlink()
    assert chosen_ids(store.root, store, ["ran"], None, None) == ["ran"]
    removed = entry(store, "ran")
    assert removed.scores["mae"].value == 0.5
    assert removed.note == "its file was removed; its results stay until 'assay gc'"


def test_a_defect_in_reading_one_file_leaves_its_trace_and_hides_no_other(store, monkeypatch, caplog):
    def load(name, own=store.load):
        return own(name) if name != "new" else 1 / 0

    monkeypatch.setattr(store, "load", load)
    new, ran = collect(store.root, store, ["new", "ran"], "test").entries
    assert "division by zero" in new.note
    assert not ran.note
    assert "ZeroDivisionError" in caplog.text


def test_secrets_and_removed_keys_stay_out(store):
    assert not {RATE, "tags.api_key"} & set(entry(store, "new").keys)


def test_experiments_are_chosen_by_id_sweep_and_condition(store):
    assert chosen_ids(store.root, store, [], None, None) == store.ids()
    assert chosen_ids(store.root, store, ["ran", "edited"], None, None) == ["ran", "edited"]
    assert chosen_ids(store.root, store, [], "grid", None) == ["new"]
    assert chosen_ids(store.root, store, ["ran"], "grid", "tags->>'sweep' = 'grid'") == ["new"]


@pytest.mark.parametrize(
    ("ids", "sweep", "where", "error", "expected"),
    [
        (["../x"], None, None, IdError, "is not valid"),
        (["edit"], None, None, SpecError, "Did you mean 'edited'"),
        ([], "grit", None, SpecError, r"Sweep 'grit' does not exist\. Did you mean 'grid'"),
        ([], None, "nothing = 1", DataError, "nothing"),
    ],
)
def test_a_selection_without_experiments_is_one_error(store, ids, sweep, where, error, expected):
    with pytest.raises(error, match=expected):
        chosen_ids(store.root, store, ids, sweep, where)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([], None, None), "all-experiments"),
        ((["a", "b"], None, None), "a-b"),
        (([], "../Grid 1", None), "grid-1"),
        (([], "s", "seed = 1"), "s-selection"),
        (([f"experiment-{n}" for n in range(9)], None, None), "experiment-0-and-8-more"),
    ],
)
def test_a_page_is_named_after_what_was_chosen(arguments, name):
    assert selection_name(*arguments) == name


def test_an_experiment_costs_as_much_as_all_its_stages_or_nobody_knows():
    names = COSTS_OF_STAGES.names()
    rows = [
        ("a", "splits", "f1", 1.0, 2.0, 0.0, 300.0, 10, "m"),
        ("a", "crops", "f2", 3.0, 5.0, 1.0, 200.0, 20, "m"),
        ("b", "splits", "f1", 1.0, 2.0, 0.0, None, 10, "m"),
        ("b", "crops", "f3", None, None, None, None, 30, None),
    ]
    found = costs_by_experiment(pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows], COSTS_OF_STAGES))
    assert found == {
        "a": ExperimentCost(4.0, 7.0, 1.0, 300.0, 30),
        "b": ExperimentCost(None, None, None, None, 40),
    }


@pytest.mark.system
def test_costs_come_with_an_experiment_and_a_damaged_table_of_them_stops_nothing(store):
    record_costs(store.root, "ran")
    (known,) = stage_costs(store.root, "ran")
    assert entry(store, "ran").cost == ExperimentCost(
        known.cost.wall_s, known.cost.cpu_s, 0.0, known.cost.peak_memory_mb, known.size_bytes
    )
    assert entry(store, "new").cost == ExperimentCost()
    (file,) = store.root.glob("tables/main/costs/experiment_id=ran/current/*.parquet")
    file.write_bytes(b"no table")
    (store.root / "warehouse.duckdb").unlink(missing_ok=True)
    damaged = entry(store, "ran")
    assert damaged.cost == ExperimentCost()
    assert damaged.scores["mae"].value == 0.5


@pytest.mark.parametrize(
    ("spec", "differs"),
    [
        ({"train_params": {"epochs": 5, "stop_after": None, "calibration": None}, "of_a_later_version": 1}, False),
        ({"train_params": {"epochs": 6}}, True),
        ({"train_params": {"epochs": 5, "stop_after": 3}}, True),
        ({"missing": {"numbers": "median"}, "leave_out": []}, False),
        ({"missing": {"numbers": "mean"}}, True),
        ({"leave_out": ["a.png"]}, True),
    ],
)
def test_a_key_that_is_younger_than_results_differs_once_it_is_set(spec, differs):
    assert contradict({"train_params": {"epochs": 5}}, spec) is differs


@pytest.mark.parametrize(
    ("spec", "differs"),
    [
        ({"early_stopping": None, "class_weights": None, "class_mapping": {}}, False),
        ({"early_stopping": {"patience": 3}}, True),
        ({"class_weights": {"a": 2.0}}, True),
        ({"class_mapping": {"a": "b"}}, True),
    ],
)
def test_a_section_or_mapping_in_place_of_none_differs(spec, differs):
    usual = {"early_stopping": None, "class_weights": None, "class_mapping": {}}
    assert contradict({"x": usual}, {"x": {**usual, **spec}}) is differs
    assert contradict({"x": {**usual, **spec}}, {"x": usual}) is differs


def test_another_key_of_a_users_mapping_differs_and_the_order_does_not():
    before = {"class_weights": {"a": 2.0, "b": 1.0}}
    assert contradict(before, {"class_weights": {"a": 2.0, "b": 1.0, "c": 1.0}})
    assert not contradict(before, {"class_weights": {"b": 1.0, "a": 2.0}})
