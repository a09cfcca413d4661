"""The command line: its commands, output and exit codes; nothing is written when it refuses."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

from assay.automation.reconcile import expected_versions
from assay.cli import results
from assay.cli.main import app, explained, main
from assay.experiments.specs import SpecFiles, template_text
from assay.pipeline import STAGES
from assay.spec.yaml_text import read_mapping
from assay.storage.results import Result
from tests.helpers.comparison_cases import run_all


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["assay", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


COMMANDS = {
    *("new", "validate", "verify", "schema", "sweep", "tune", "eval", "run", "demo", "diff", "backfill", "backfills"),
    *("compare", "dashboard", "impact", "show", "path", "export", "sql", "predict", "promote", "plugins", "report"),
    *("locks", "forget", "gc", "copy", "import", "locations", "pack", "init", "doctor"),
}


def test_the_help_lists_every_command_with_a_description(monkeypatch, capsys):
    assert {command.name or command.callback.__name__ for command in app.registered_commands} == COMMANDS
    monkeypatch.setenv("COLUMNS", "200")
    assert call(monkeypatch, "--help") == 0
    lines = [
        line.strip("│ ").split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith("│")
    ]
    described = {name: text for name, *text in lines if name in COMMANDS}
    assert described.keys() == COMMANDS
    assert all(described.values())


def test_the_demo_takes_no_arguments(monkeypatch, capsys):
    assert call(monkeypatch, "demo", "--help") == 0
    assert "Train three example experiments" in capsys.readouterr().out
    assert call(monkeypatch, "demo", "regression") == 2


def test_new_writes_a_file_and_prints_its_id(project, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--set", "trained_model.train_params.epochs=5") == 0
    name = capsys.readouterr().out.strip()
    text = (project / "experiments" / f"{name}.yaml").read_text()
    assert "epochs: 5" in text


def test_new_accepts_a_shortened_key_if_it_is_unique(project, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--id", "short", "--set", "epochs=5") == 0
    assert read_mapping((project / "experiments" / "short.yaml").read_text(), "")["trained_model"] == {
        "train_params": {"epochs": 5}
    }
    assert call(monkeypatch, "new", "regression", "--set", "width=5") == 1
    assert "could be any of generated_images.source.img_size.width" in capsys.readouterr().err


def test_new_refuses_a_misspelled_key_and_writes_nothing(project, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--set", "sede=5") == 1
    assert "Did you mean 'seed'?" in capsys.readouterr().err
    assert not (project / "experiments").exists()


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 300, "latest", "A"])
def test_new_refuses_invalid_ids(project, monkeypatch, capsys, name):
    assert call(monkeypatch, "new", "regression", "--id", name) == 1
    assert "Nearest valid" in capsys.readouterr().err
    assert not list(project.rglob("*.yaml"))


@pytest.mark.parametrize("command", ["run", "show", "path"])
def test_an_id_that_leaves_its_folder_is_refused_everywhere(monkeypatch, capsys, command):
    assert call(monkeypatch, command, "../../etc/passwd") == 1
    assert "is not valid: expected 1 to 63 characters" in capsys.readouterr().err


def test_validate_prints_every_problem_of_every_file(project, monkeypatch, capsys):
    folder = project / "experiments"
    folder.mkdir()
    (folder / "good.yaml").write_text("task: regression")
    (folder / "bad.yaml").write_text("task: regression\nsede: 1\nseed: -1")
    (folder / "half.yaml").write_text("task: [")
    assert call(monkeypatch, "validate") == 1
    printed = capsys.readouterr()
    assert "1 of 3 experiments are valid." in printed.out
    assert "bad.yaml: sede: unknown key" in printed.err
    assert "bad.yaml: seed: got -1" in printed.err
    assert "half.yaml: is not valid YAML (half-saved?)" in printed.err


def test_validate_an_unknown_id_names_the_nearest(project, monkeypatch, capsys):
    (project / "experiments").mkdir()
    (project / "experiments" / "digits.yaml").write_text("task: regression")
    assert call(monkeypatch, "validate", "digit") == 1
    assert "Did you mean 'digits'?" in capsys.readouterr().err


def test_schema_is_json(monkeypatch, capsys):
    assert call(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "ExperimentSpec"


def test_show_before_any_run_says_what_to_do_next(project, monkeypatch, capsys):
    (project / "experiments").mkdir()
    (project / "experiments" / "mine.yaml").write_text(template_text("classification"))
    assert call(monkeypatch, "show", "mine") == 0
    assert "Next: assay run mine" in capsys.readouterr().out


@pytest.mark.system
def test_show_tells_what_each_result_and_all_of_them_cost(project, monkeypatch, capsys):
    store = SpecFiles(project / "experiments", project / "storage")
    for name in ("mine", "same"):
        store.create({"task": "regression"}, name)
        run_all(store, name)
    assert call(monkeypatch, "show", "mine") == 0
    shown = capsys.readouterr().out
    spent = r"CPU [0-9.]+ s, memory [0-9.]+ [MG]B"
    assert re.search(rf"^  trained_model    [0-9a-f]{{24}}  6\.0 s, {spent}, \d+ bytes$", shown, re.M)
    assert re.search(rf"^cost: 36 s, {spent}, [0-9.]+ (bytes|kB), on .+ cores, \d+ GB$", shown, re.M)
    assert call(monkeypatch, "show", "same") == 0
    assert capsys.readouterr().out.count("; made for mine") == 8
    shutil.rmtree(project / "storage" / ".costs")
    for record in (project / "storage").glob("experiments/*/results/*/cost.json"):
        record.write_text("{")
    assert call(monkeypatch, "show", "mine") == 0
    shown = capsys.readouterr().out
    assert shown.count("  not recorded\n") == 8
    assert "cost: not recorded\n" in shown
    assert "note: analysis: not recorded: /" in shown


def test_show_knows_what_a_run_would_make_anew(project):
    store = SpecFiles(project / "experiments", project / "storage")
    store.create({"task": "regression"}, "mine")
    made = expected_versions(store.load("mine"), "mine", "")
    found = {name: Result(name, made[name], project) for name in STAGES if name in made}
    assert results.outdated_stages(store.load("mine"), "mine", found) == []
    (project / "experiments" / "mine.yaml").write_text("task: regression\ntrained_model: {train_params: {epochs: 2}}")
    assert results.outdated_stages(store.load("mine"), "mine", found) == ["trained_model", "predictions", "analysis"]
    (project / "table.csv").write_text("a,y\n1,2\n")
    source = "{kind: table, path: table.csv, target_column: y}"
    (project / "experiments" / "mine.yaml").write_text(f"task: regression\ngenerated_images: {{source: {source}}}")
    assert results.outdated_stages(store.load("mine"), "mine", found) == []  # its data were never read


def test_running_an_unknown_experiment_says_how_to_create_one(monkeypatch, capsys):
    assert call(monkeypatch, "run", "nothing") == 1
    assert "does not exist. Create one with 'assay new" in capsys.readouterr().err


def test_locks_and_gc_of_an_empty_storage(monkeypatch, capsys):
    assert call(monkeypatch, "locks") == 0
    assert "No locks are held." in capsys.readouterr().out
    assert call(monkeypatch, "gc") == 0
    assert "Nothing to delete" in capsys.readouterr().out


@pytest.mark.system
def test_the_command_line_imports_nothing_heavy():
    code = "import sys, assay.cli.main; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "dagster", "duckdb", "matplotlib", "sklearn", "skimage", "polars", "streamlit")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_validate_without_experiments_says_how_to_begin(project, monkeypatch, capsys):
    assert call(monkeypatch, "validate") == 0
    output = capsys.readouterr().out
    assert "There are no experiments in" in output
    assert output.splitlines()[0].endswith("Next: assay new classification")


def test_validate_checks_every_experiment(project, monkeypatch, capsys):
    folder = project / "experiments"
    folder.mkdir()
    for number in range(200):
        (folder / f"x{number}.yaml").write_text(template_text("classification"))
    assert call(monkeypatch, "validate") == 0
    assert "200 of 200" in capsys.readouterr().out


def test_show_names_the_tags(project, monkeypatch, capsys):
    (project / "experiments").mkdir()
    (project / "experiments" / "mine.yaml").write_text("task: regression\ntags: {sweep: lr-grid}")
    assert call(monkeypatch, "show", "mine") == 0
    assert "tags: sweep lr-grid" in capsys.readouterr().out


def test_only_existing_boxes_and_masks_can_be_exported(project, monkeypatch, capsys):
    for task, reason in (
        ("regression", "only boxes (detection) and masks (segmentation) can be exported"),
        ("detection", "Next: assay run x"),
        ("segmentation", "Next: assay run x"),
    ):
        (project / "experiments").mkdir(exist_ok=True)
        (project / "experiments" / "x.yaml").write_text(f"task: {task}\n")
        assert call(monkeypatch, "export", "x", "--format", "coco", "--to", str(project / "out")) == 1
        assert reason in capsys.readouterr().err
    assert call(monkeypatch, "export", "x", "--format", "yolo", "--to", str(project / "out")) == 1
    assert "--format yolo has no masks" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_with_the_place_of_its_trace(project, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(project))
    (project / "experiments" / "a.yaml").parent.mkdir()
    (project / "experiments" / "a.yaml").write_text("task: regression\n")
    monkeypatch.setattr(results, "folders", lambda: None)  # what has no known error cause
    assert call(monkeypatch, "path", "a") == 1
    (line,) = capsys.readouterr().err.splitlines()
    (trace,) = project.glob("assay-error-*.txt")
    assert line.startswith("error: unexpected AttributeError: ")
    assert str(trace) in line
    assert "Traceback" in trace.read_text()


def test_an_error_of_the_system_without_a_file_says_no_none():
    assert explained(OSError(28, "No space left on device")) == "No space left on device"
    assert explained(OSError("cut off")) == "cut off"
    assert explained(FileNotFoundError(2, "No such file", "a.yaml")) == "No such file: a.yaml"


@pytest.mark.parametrize("command", ["run", "show", "export", "eval", "sweep", "validate", "path"])
def test_a_mistyped_experiment_gets_the_nearest_one(project, monkeypatch, capsys, command):
    (project / "experiments").mkdir()
    for name in ("binary", "digits"):
        (project / "experiments" / f"{name}.yaml").write_text("task: regression\n")
    further = {"export": ["--format", "coco", "--to", "out"], "sweep": ["--seeds", "2"]}.get(command, [])
    assert call(monkeypatch, command, "binray", *further) == 1
    assert "Did you mean 'binary'?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("eval", "A B"), ("eval", "a", "--from", "a b"), ("eval", "\x1b[31m")])
def test_an_evaluated_experiment_that_can_not_be_is_one_error(monkeypatch, capsys, arguments):
    assert call(monkeypatch, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: existing experiment: ")
    assert "\x1b" not in line


SOURCE = "task: classification\ngenerated_images: {{source: {{kind: image_folder, path: {path}}}}}\n"


@pytest.mark.system
def test_validate_warns_of_data_that_do_not_exist(project, monkeypatch, capsys):
    (project / "experiments").mkdir()
    (project / "flowers").mkdir()
    path = project / "experiments" / "a.yaml"
    path.write_text(SOURCE.format(path="flower"))
    assert call(monkeypatch, "validate") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"warning: {path}: generated_images.source.path: 'flower' does not exist")
    assert "Did you mean" in captured.err
    path.write_text(SOURCE.format(path="flowers"))
    assert call(monkeypatch, "validate") == 0
    assert capsys.readouterr().err == ""


TABLE = "task: regression\ngenerated_images: {source: {kind: table, path: houses.csv, target_column: Price}}\n"


@pytest.mark.system
def test_validate_reads_data_on_demand(project, monkeypatch, capsys):
    """The folder exists, so that nothing but its content is wrong; no image is opened."""
    (project / "experiments").mkdir()
    (project / "experiments" / "table.yaml").write_text(TABLE)
    (project / "houses.csv").write_text("size,price\n1,2\n")
    (project / "experiments" / "folder.yaml").write_text(SOURCE.format(path="flowers"))
    (project / "flowers" / "rose").mkdir(parents=True)
    (project / "flowers" / "rose" / "1.png").write_bytes(b"no image, but that is for the run to find")
    (project / "flowers" / "lonely.png").write_bytes(b"")
    assert call(monkeypatch, "validate") == 0
    capsys.readouterr()
    assert call(monkeypatch, "validate", "--data") == 1
    captured = capsys.readouterr()
    assert "generated_images.source.path 'houses.csv': 1 problem;" in captured.err
    assert "source.target_column: Column 'Price' does not exist. Did you mean 'price'?" in captured.err
    assert "lonely.png: lies outside a class folder" in captured.err
    (project / "flowers" / "lonely.png").unlink()
    (project / "experiments" / "table.yaml").write_text(TABLE.replace("Price", "price"))
    assert call(monkeypatch, "validate", "--data") == 0
    assert "2 of 2 experiments are valid." in capsys.readouterr().out


def test_validate_tells_each_file_that_can_not_be_read_beside_the_others(project, monkeypatch, capsys):
    (project / "experiments").mkdir()
    (project / "experiments" / "good.yaml").write_text("task: regression\n")
    os.mkfifo(project / "experiments" / "pipe.yaml")
    (project / "experiments" / "loop.yaml").symlink_to("loop.yaml")
    (project / "experiments" / "deep.yaml").write_text("tags: " + "[" * 100_000)
    assert call(monkeypatch, "validate") == 1
    captured = capsys.readouterr()
    assert "1 of 4 experiments are valid." in captured.out
    assert len(captured.err.splitlines()) == 3
