"""The experiment store: names taken once, specs frozen per run, folders that are complete and portable."""

import json
import multiprocessing
import os
import subprocess
from contextlib import suppress

import pytest

from assay.errors import DataError, IdError, SpecError, StorageError
from assay.experiments.checks import require_passed, store_verdict
from assay.experiments.folders import ExperimentFolders, environment, git_versions
from assay.experiments.specs import SpecFiles, load_run_config, run_config_path, store_run_config, template
from assay.pipeline import stage_config
from assay.spec.loading import load_values, spec_from
from assay.spec.secrets import without_keys
from assay.spec.yaml_text import read_mapping


@pytest.fixture
def specs(tmp_path):
    return SpecFiles(tmp_path / "experiments", tmp_path / "storage")


def test_a_new_experiment_gets_a_free_id(specs):
    names = {specs.create(template("regression")) for _ in range(20)}
    assert len(names) == 20
    assert specs.ids() == sorted(names)


def test_a_taken_id_is_refused_with_a_free_one(specs):
    specs.create({"task": "regression"}, "mine")
    with pytest.raises(IdError, match="already used"):
        specs.create({"task": "classification"}, "mine")
    assert specs.load("mine").task == "regression"


def test_the_id_of_a_removed_experiment_is_never_given_again(specs):
    specs.tombstones.add("old")
    with pytest.raises(IdError, match="already used"):
        specs.create({"task": "regression"}, "old")


def test_an_invalid_spec_leaves_no_file(specs):
    with pytest.raises(SpecError):
        specs.create({"task": "nothing"}, "mine")
    assert specs.ids() == []


def _create_many(folder, root):
    store = SpecFiles(folder, root)
    for _ in range(25):
        store.create({"task": "regression"})


@pytest.mark.defect("B11")
@pytest.mark.system
def test_processes_that_invent_ids_at_once_never_share_one(specs):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_create_many, args=(specs.folder, specs.root)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)  # ends what hangs
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(specs.ids()) == 100


def _create_all(folder, root, won):
    store = SpecFiles(folder, root)
    for number in range(25):
        with suppress(IdError):
            store.create({"task": "regression"}, f"x{number}")
            (won / f"{number}-{os.getpid()}").touch()


@pytest.mark.defect("B11")
def test_of_processes_that_want_the_same_id_at_once_one_gets_it(specs, tmp_path):
    (tmp_path / "won").mkdir()
    context = multiprocessing.get_context("fork")
    arguments = (specs.folder, specs.root, tmp_path / "won")
    workers = [context.Process(target=_create_all, args=arguments) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    winners = sorted(int(path.name.partition("-")[0]) for path in (tmp_path / "won").iterdir())
    assert winners == list(range(25))


@pytest.mark.defect("C9")
def test_files_that_are_no_experiments_are_ignored(specs):
    specs.create({"task": "regression"}, "mine")
    for name in ("notes.txt", "Not An Id.yaml", "valid_model.txt", ".hidden.yaml"):
        (specs.folder / name).write_text("x")
    assert specs.ids() == ["mine"]


def test_overrides_are_laid_over_the_file_or_the_template(specs):
    fresh = specs.overridden("new", {"task": "classification", "seed": 5})
    assert (fresh["task"], fresh["seed"]) == ("classification", 5)
    specs.create({"task": "regression", "name": "n"}, "mine")
    assert specs.overridden("mine", {"seed": 5}) == {"task": "regression", "name": "n", "seed": 5}
    with pytest.raises(SpecError, match="unknown key"):
        specs.overridden("mine", {"sede": 5})


def test_a_run_keeps_the_spec_that_it_began_with(tmp_path):
    first = spec_from({"task": "regression", "seed": 1}, "x")
    second = spec_from({"task": "regression", "seed": 2}, "x")
    assert load_run_config(tmp_path, "run", "ab12") is None
    assert store_run_config(tmp_path, "run", "ab12", first) == first
    assert store_run_config(tmp_path, "run", "ab12", second) == first
    assert load_run_config(tmp_path, "run", "ab12") == first
    assert store_run_config(tmp_path, "later", "ab12", second) == second


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "[1]", "9" * 5000])
def test_a_damaged_tombstone_is_one_error_that_names_it(specs, content):
    path = specs.tombstones.folder / "old"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(IdError, match=f"{path}.*Delete it to use the ID"):
        specs.tombstones.check("old", "digest")


def test_a_tombstone_without_a_digest_keeps_the_id(specs):
    path = specs.tombstones.folder / "old"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(IdError, match="was removed"):
        specs.tombstones.check("old", "digest")


def test_a_spec_file_that_is_none_is_never_replaced_by_a_template(specs):
    for name, make in (("pipe", os.mkfifo), ("link", lambda path: path.symlink_to("nowhere"))):
        path = specs.path(name)
        path.parent.mkdir(exist_ok=True)
        make(path)
        assert specs.exists(name)
        with pytest.raises(SpecError, match=f"{name}.yaml: is a "):
            specs.load(name)
        with pytest.raises(SpecError, match=f"{name}.yaml: is a "):
            specs.overridden(name, {"seed": 3})


def test_a_run_configuration_that_is_none_is_one_error(tmp_path):
    path = run_config_path(tmp_path, "run", "ab12")
    path.parent.mkdir(parents=True)
    os.mkfifo(path)
    with pytest.raises(SpecError, match="is a pipe"):
        load_run_config(tmp_path, "run", "ab12")


def test_a_folder_is_made_once_and_found_by_index(tmp_path):
    folders = ExperimentFolders(tmp_path)
    assert folders.find("ab12") is None
    folder = folders.open("ab12", spec_from({"task": "regression"}, "x"))
    assert folders.open("ab12", spec_from({"task": "regression"}, "x")) == folder
    assert folder.path.name.startswith("REG-")
    assert folder.path.name.endswith("-id_ab12")
    info = read_mapping((folder.path / "experiment_info.yaml").read_text(), "x")
    assert (info["experiment_id"], info["task"]) == ("ab12", "regression")


def test_exp_initializer_says_what_is_written_down(tmp_path):
    silent = {"exp_initializer": {"git_versions": False, "environment": False}}
    folder = ExperimentFolders(tmp_path).open("ab12", spec_from({"task": "regression", "trained_model": silent}, "x"))
    assert not (folder.path / "git_versions.yaml").exists()
    assert not (folder.path / "environment.yaml").exists()


@pytest.mark.defect("C9")
def test_an_id_is_read_from_the_index_never_from_a_folders_name(tmp_path):
    spec = spec_from({"task": "regression", "exp_folder_pattern": "valid_model-id_$SHORT_ID-$RUN_ID"}, "x")
    folder = ExperimentFolders(tmp_path).open("ab12", spec)
    assert ExperimentFolders(tmp_path).find("ab12") == folder
    assert ExperimentFolders(tmp_path).find("mode") is None


def test_a_pattern_that_gives_a_taken_name_is_refused(tmp_path):
    spec = spec_from({"task": "regression", "exp_folder_pattern": "x-$SHORT_ID"}, "x")
    (tmp_path / "experiments" / "x-ab12").mkdir(parents=True)
    with pytest.raises(StorageError, match="Use \\$RUN_ID"):
        ExperimentFolders(tmp_path).open("ab12", spec)


def test_secrets_and_removed_keys_are_not_saved():
    values = {"a": 1, "password": "p", "deep": [{"api_key": "k", "gone": 1, "kept": 2}]}
    assert without_keys(values, frozenset({"gone"})) == {"a": 1, "deep": [{"kept": 2}]}


def test_a_section_removes_its_own_keys_and_the_others_those_of_the_experiment(tmp_path):
    keys = {"analysis": {"remove_key_list": ["confidence"]}, "predictions": {"remove_key_list": []}}
    spec = spec_from({"task": "regression", "remove_key_list": ["seed", "unit"], **keys}, "x")
    folder = ExperimentFolders(tmp_path).open("ab12", spec).path
    for path in (folder / "configs" / "experiment.yaml", None):
        saved = {
            name: load_values(path)[name] if path else load_values(folder / "configs" / name / "config.yaml")
            for name in ("trained_model", "predictions", "analysis")
        }
        assert "seed" not in saved["trained_model"]
        assert "seed" in saved["predictions"]
        assert "confidence" not in saved["analysis"]["result_analyzer"]
        assert "unit" in saved["analysis"]["result_analyzer"]
    assert "seed" not in load_values(folder / "configs" / "experiment.yaml")


def test_a_list_of_its_own_changes_no_fingerprint_and_is_recorded_only_where_it_is_given():
    plain = spec_from({"task": "regression"}, "x")
    sections = ("trained_model", "predictions", "analysis", "exptests")
    other = spec_from({"task": "regression", **{name: {"remove_key_list": ["seed"]} for name in sections}}, "x")
    for name in sections:
        assert stage_config(plain, "ab12", name).digest == stage_config(other, "ab12", name).digest
        assert "remove_key_list" not in plain.as_dict()[name]
        assert other.as_dict()[name]["remove_key_list"] == ["seed"]


def test_environment_variables_are_never_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIO_SECRET_KEY", "S3KR1Tvalue")
    folder = ExperimentFolders(tmp_path).open("ab12", spec_from({"task": "regression"}, "x"))
    texts = [path.read_text() for path in folder.path.rglob("*") if path.is_file()]
    assert texts
    assert not any("S3KR1Tvalue" in text for text in texts)


@pytest.mark.defect("A15")
def test_provenance_names_the_commit_of_the_project_and_whether_files_were_changed_since(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    (tmp_path / "model.yaml").write_text("a: 1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert git_versions(tmp_path)["project"] == {"commit": commit, "dirty": False}
    (tmp_path / "model.yaml").write_text("a: 2")
    assert git_versions(tmp_path)["project"] == {"commit": commit, "dirty": True}


@pytest.mark.defect("A15")
def test_provenance_names_code_packages_and_hardware(tmp_path):
    assert git_versions(tmp_path)["assay"]["version"]
    found = environment()
    assert found["packages"]["torch"]
    assert found["cpu_count"] >= 1
    json.dumps(found)


def test_a_failed_blocking_test_stops_training_on_exactly_that_result(tmp_path):
    store_verdict(tmp_path, "ab12", "split_leakage", "splits", "bad", ["a.png is in train and test"])
    require_passed(tmp_path, "ab12", {"splits": "good", "crops": "bad"})
    with pytest.raises(DataError, match=r"splits failed a blocking test(.|\n)*a\.png is in train and test"):
        require_passed(tmp_path, "ab12", {"splits": "bad"})
    store_verdict(tmp_path, "ab12", "split_leakage", "splits", "bad", [])
    require_passed(tmp_path, "ab12", {"splits": "bad"})
