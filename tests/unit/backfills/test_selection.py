"""Choosing experiments: by SQL over their spec files, by ID, and what is said when nothing fits."""

import polars as pl
import pytest

from assay.backfills.selection import select_experiments
from assay.errors import DataError, SpecError
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.storage.partitions import Partition


@pytest.fixture
def files(tmp_path):
    files = SpecFiles(tmp_path / "experiments", tmp_path / "storage")
    for number in range(4):
        task = "regression" if number < 3 else "classification"
        files.store(f"e{number}", {"task": task, "seed": number, "name": f"number {number}"})
    return files


def chosen(files, where="", ids=()):
    return list(select_experiments(files, files.root, where, ids).specs)


def test_a_condition_sees_experiments_that_never_ran(files):
    assert chosen(files, "task = 'regression' and seed < 2") == ["e0", "e1"]
    assert chosen(files, "run_id is null") == ["e0", "e1", "e2", "e3"]


def test_every_key_of_the_spec_can_be_queried_numbers_by_dots_and_texts_by_path(files):
    assert chosen(files, "spec.seed >= 1 and spec.trained_model.learner.learning_rate < 0.005") == ["e1", "e2", "e3"]
    assert chosen(files, "(spec->>'$.trained_model.model.kind') = 'mlp' and seed >= 1") == ["e1", "e2"]


def test_tags_can_be_queried(files):
    files.store("e1", {"task": "regression", "tags": {"sweep": "first"}})
    assert chosen(files, "(tags->>'$.sweep') = 'first'") == ["e1"]


def test_ids_and_a_condition_must_both_hold(files):
    assert chosen(files, ids=["e3", "e1", "e1"]) == ["e1", "e3"]
    assert chosen(files, "seed > 1", ["e3", "e1"]) == ["e3"]


def test_other_tables_can_be_queried_and_spec_files_hide_the_stored_table_of_experiments(files):
    for name, value in (("e0", 1.5), ("e2", 3.0)):
        write_table(files, "analysis", name, {"metric": ["mae"], "value": [value]})
        write_table(files, "experiments", name, {"seed": [99]})
    assert chosen(files, "experiment_id in (select experiment_id from analysis where value > 2)") == ["e2"]
    assert chosen(files, "seed = 99 or seed = 3") == ["e3"]


def write_table(files, table, experiment_id, columns):
    place = files.root / "tables" / "main" / table
    Partition(place, "experiment_id", experiment_id).write(pl.DataFrame(columns))


def test_an_experiment_that_ran_has_its_folder(files):
    quick = {"trained_model": {"exp_initializer": {"git_versions": False, "environment": False}}}
    files.store("e1", {"task": "regression", **quick})
    ExperimentFolders(files.root).open("e1", files.load("e1"))
    assert chosen(files, "folder is not null") == ["e1"]


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("sede < 3", 'Candidate bindings: "seed"'),
        ("seed <", "syntax error"),
        ("seed in (select x from nowhere)", "nowhere does not exist"),
        ("true; drop table experiments", "Parser Error"),
        ("name", "Could not convert string"),
    ],
)
def test_a_wrong_condition_is_one_message_with_the_columns(files, where, reason):
    with pytest.raises(DataError) as caught:
        chosen(files, where)
    assert reason in str(caught.value)
    assert "Columns: experiment_id, task, name" in str(caught.value)


def test_no_match_says_how_many_experiments_there_are(files):
    with pytest.raises(DataError, match=r"No experiment matches \"task = 'x'\"; 4 are in .* All of them: --where true"):
        chosen(files, "task = 'x'")


def test_an_empty_folder_says_how_to_begin(tmp_path):
    with pytest.raises(DataError, match="assay new regression"):
        select_experiments(SpecFiles(tmp_path, tmp_path / "storage"), tmp_path / "storage", "true")


def test_a_folder_of_invalid_files_says_how_to_see_why(tmp_path):
    (tmp_path / "half.yaml").write_text("task: [")
    with pytest.raises(DataError, match="1 file is not valid: assay validate"):
        select_experiments(SpecFiles(tmp_path, tmp_path / "storage"), tmp_path / "storage", "true")


def test_an_unknown_id_names_the_nearest(files):
    with pytest.raises(SpecError, match=r"Experiment 'e9' does not exist. Did you mean 'e"):
        chosen(files, ids=["e9"])


def test_invalid_files_are_left_out_and_reported(files):
    files.path("broken").write_text("task: [")
    selection = select_experiments(files, files.root, "seed = 1")
    assert (list(selection.specs), selection.left_out) == (["e1"], ("broken",))


def test_a_defect_in_reading_one_file_leaves_its_trace_and_the_others_are_chosen(files, monkeypatch, caplog):
    monkeypatch.setattr(files, "load", lambda name, load=files.load: load(name) if name != "e1" else 1 / 0)
    selection = select_experiments(files, files.root, "task = 'regression'")
    assert (list(selection.specs), selection.left_out) == (["e0", "e2"], ("e1",))
    assert "ZeroDivisionError" in caplog.text


def test_an_invalid_file_leaves_no_trace(files, caplog):
    files.path("e1").write_text("task: [")
    assert select_experiments(files, files.root, "true").left_out == ("e1",)
    assert caplog.text == ""
