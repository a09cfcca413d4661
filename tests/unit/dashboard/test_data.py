"""All experiments: what each is, that its metrics are its own, and that news are seen at once."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from assay.comparison.load import ExperimentCost
from assay.dashboard.data import load_experiments, load_history, started_at, with_file_notes
from assay.experiments.costs import record_costs, stage_costs
from tests.helpers.comparison_cases import run, start, values
from tests.helpers.dashboard_storage import make_storage

LOADED = datetime.now(UTC)
"""Before anything here was started."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_storage(tmp_path_factory.mktemp("storage"))


@pytest.fixture
def found(store):
    return {each.experiment_id: each for each in load_experiments(store.root)}


@pytest.mark.system
def test_an_experiment_shows_what_it_is_and_what_it_reached(found):
    ran = found["ran"]
    assert (ran.task, ran.model, ran.epochs, ran.note) == ("regression", "mlp", 3, "")
    assert (ran.scores["test"]["mae"].value, ran.scores["test"]["mae"].unit) == (0.5, "mm")
    assert ran.keys["trained_model.learner.learning_rate"] == 0.001
    assert LOADED <= ran.started <= datetime.now(UTC)


@pytest.mark.system
def test_an_evaluation_says_whose_model_it_has(tmp_path):
    store = make_storage(tmp_path)
    found = {"experiment_id": "ran", "run_id": "1", "folder": "experiments/REG-1", "model": "0" * 24}
    store.create({"task": "regression", "existing_experiment": {"experiment_id": "ran", "found": found}}, "judge")
    start(store, "judge")
    assert {each.experiment_id: each.evaluates for each in load_experiments(store.root)} == {
        **dict.fromkeys(("ran", "other", "failed", "started"), ""),
        "judge": "ran",
    }


def test_what_has_no_metrics_of_its_own_says_why(found):
    assert (found["started"].scores, found["started"].note) == ({}, "no results yet: assay run started")
    assert found["failed"].scores == {}
    assert found["failed"].note == "its last run did not finish (trained_model is of an earlier spec): assay run failed"


def test_secrets_stay_out(found):
    assert found["ran"].tags == {"sweep": "rates"}
    assert "planted" not in repr(found["ran"])


def test_the_newest_comes_first(found):
    assert list(found) == ["started", "failed", "ran", "other"]


@pytest.mark.system
def test_nothing_is_read_again_until_a_table_changes(tmp_path):
    store = make_storage(tmp_path)
    before = load_experiments(store.root)
    assert load_experiments(store.root) is before
    store.create(values(0.5), "late")
    run(store, "late")
    assert [each.experiment_id for each in load_experiments(store.root)] == [
        "late",
        *(each.experiment_id for each in before),
    ]


def test_from_their_own_files_experiments_are_what_the_warehouse_says(store):
    from_files = load_experiments(store.root)
    from_warehouse = load_experiments(store.root, max_from_files=0, snapshots={})
    assert [vars(each) for each in from_warehouse] == [vars(each) for each in from_files]


def test_an_experiment_that_was_deleted_is_not_shown_any_more(store, tmp_path):
    root = Path(shutil.copytree(store.root, tmp_path / "storage", symlinks=True))
    assert len(load_experiments(root)) == len(load_experiments(store.root))
    shutil.rmtree(root / "tables" / "main" / "experiments" / "experiment_id=ran")
    assert "ran" not in {each.experiment_id for each in load_experiments(root)}


@pytest.mark.parametrize("name", ["<b>x", "a b"])
def test_a_folder_whose_name_is_no_id_is_no_experiment(store, tmp_path, name):
    root = Path(shutil.copytree(store.root, tmp_path / "storage", symlinks=True))
    tables = root / "tables" / "main" / "experiments"
    shutil.copytree(tables / "experiment_id=ran", tables / f"experiment_id={name}", symlinks=True)
    assert len(load_experiments(root)) == len(load_experiments(store.root))


def test_a_history_is_that_of_the_experiments_asked_for(store):
    assert load_history(store.root, ["ran"])["value"].to_list() == [1.0, 0.5, 1 / 3]
    assert load_history(store.root, []).is_empty()


def test_a_storage_without_tables_has_no_experiments(tmp_path):
    assert load_experiments(tmp_path) == ()
    assert load_experiments(tmp_path / "missing") == ()


@pytest.mark.parametrize("run_id", ["", "mine", "2026-13-01T00.00.00.000000Z-ab"])
def test_a_run_id_without_a_time_has_none(run_id):
    assert started_at(run_id) is None


def test_a_run_id_begins_with_its_time():
    assert started_at("2026-05-03T12.30.01.500000Z-ab") == datetime(2026, 5, 3, 12, 30, 1, 500000, tzinfo=UTC)


@pytest.mark.system
def test_removed_and_broken_files_are_marked_and_the_others_are_not_read(tmp_path):
    store = make_storage(tmp_path)
    experiments = load_experiments(store.root)
    old, new = 1e9, datetime.now(UTC).timestamp() + 60
    for name in store.ids():
        os.utime(store.path(name), (old, old))
    assert with_file_notes(experiments, store, store.root) == experiments
    store.path("ran").unlink()
    store.path("other").write_text("task: regresion")
    os.utime(store.path("other"), (new, new))
    store.path("failed").write_text("task: [")  # as old as the others: it could be read when it ran
    os.utime(store.path("failed"), (old, old))
    notes = {each.experiment_id: each.note for each in with_file_notes(experiments, store, store.root)}
    assert notes["ran"] == "its file was removed; its results stay until 'assay gc'"
    assert "Did you mean 'regression'?" in notes["other"] or "regresion" in notes["other"]
    assert notes["failed"].startswith("its last run did not finish")


@pytest.mark.system
@pytest.mark.parametrize("max_from_files", [0, 100])
def test_costs_are_read_from_files_and_from_the_warehouse_and_may_be_damaged(tmp_path, max_from_files):
    store = make_storage(tmp_path)
    record_costs(store.root, "ran")
    record_costs(store.root, "other")
    (known,) = stage_costs(store.root, "ran")
    found = {each.experiment_id: each.cost for each in load_experiments(store.root, max_from_files, {})}
    assert found["ran"] == ExperimentCost(
        known.cost.wall_s, known.cost.cpu_s, 0.0, known.cost.peak_memory_mb, known.size_bytes
    )
    assert found["started"] == ExperimentCost()
    (file,) = store.root.glob("tables/main/costs/experiment_id=other/current/*.parquet")
    file.write_bytes(b"no table")
    (store.root / "warehouse.duckdb").unlink(missing_ok=True)
    damaged = {each.experiment_id: each for each in load_experiments(store.root, max_from_files, {})}
    assert damaged["other"].cost == ExperimentCost()
    assert damaged["other"].scores
