"""The command line: what it prints, its exit codes, and that nothing is written when it refuses."""

import json
import subprocess
import sys

import pytest

from assay.cli.main import main
from assay.experiments.specs import template_text
from assay.spec.yaml_text import read_mapping


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["assay", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_new_writes_a_file_and_prints_its_id(places, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--set", "trained_model.train_params.epochs=5") == 0
    name = capsys.readouterr().out.strip()
    text = (places / "experiments" / f"{name}.yaml").read_text()
    assert "epochs: 5" in text


def test_new_understands_a_key_as_long_as_only_one_ends_so(places, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--id", "short", "--set", "epochs=5") == 0
    assert read_mapping((places / "experiments" / "short.yaml").read_text(), "")["trained_model"] == {
        "train_params": {"epochs": 5}
    }
    assert call(monkeypatch, "new", "regression", "--set", "width=5") == 1
    assert "could be any of generated_images.source.img_size.width" in capsys.readouterr().err


def test_new_refuses_a_misspelt_key_and_writes_nothing(places, monkeypatch, capsys):
    assert call(monkeypatch, "new", "regression", "--set", "sede=5") == 1
    assert "Did you mean 'seed'?" in capsys.readouterr().err
    assert not (places / "experiments").exists()


@pytest.mark.parametrize("name", ["../x", "a b", "x" * 300, "latest", "A"])
def test_new_refuses_invalid_ids(places, monkeypatch, capsys, name):
    assert call(monkeypatch, "new", "regression", "--id", name) == 1
    assert "Nearest valid" in capsys.readouterr().err
    assert not list(places.rglob("*.yaml"))


@pytest.mark.parametrize("command", ["run", "show", "path"])
def test_an_id_that_leaves_its_folder_is_refused_everywhere(monkeypatch, capsys, command):
    assert call(monkeypatch, command, "../../etc/passwd") == 1
    assert "is not valid: expected 1 to 63 characters" in capsys.readouterr().err


def test_validate_prints_every_problem_of_every_file(places, monkeypatch, capsys):
    folder = places / "experiments"
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


def test_validate_an_unknown_id_names_the_nearest(places, monkeypatch, capsys):
    (places / "experiments").mkdir()
    (places / "experiments" / "digits.yaml").write_text("task: regression")
    assert call(monkeypatch, "validate", "digit") == 1
    assert "Did you mean 'digits'?" in capsys.readouterr().err


def test_schema_is_json(monkeypatch, capsys):
    assert call(monkeypatch, "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "ExperimentSpec"


def test_show_before_any_run_says_what_to_do_next(places, monkeypatch, capsys):
    (places / "experiments").mkdir()
    (places / "experiments" / "mine.yaml").write_text(template_text("classification"))
    assert call(monkeypatch, "show", "mine") == 0
    assert "Next: assay run mine" in capsys.readouterr().out


def test_run_of_an_unknown_experiment_says_how_to_make_one(monkeypatch, capsys):
    assert call(monkeypatch, "run", "nothing") == 1
    assert "does not exist. Create one with 'assay new" in capsys.readouterr().err


def test_locks_and_gc_of_an_empty_storage(monkeypatch, capsys):
    assert call(monkeypatch, "locks") == 0
    assert "No locks are held." in capsys.readouterr().out
    assert call(monkeypatch, "gc") == 0
    assert "Nothing to delete" in capsys.readouterr().out


def test_validate_imports_nothing_heavy():
    code = "import sys, assay.cli.main; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "dagster", "duckdb", "matplotlib", "sklearn", "skimage", "polars", "streamlit")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_validate_checks_every_experiment(places, monkeypatch, capsys):
    folder = places / "experiments"
    folder.mkdir()
    for number in range(200):
        (folder / f"x{number}.yaml").write_text(template_text("classification"))
    assert call(monkeypatch, "validate") == 0
    assert "200 of 200" in capsys.readouterr().out


def test_show_names_the_tags(places, monkeypatch, capsys):
    (places / "experiments").mkdir()
    (places / "experiments" / "mine.yaml").write_text("task: regression\ntags: {sweep: lr-grid}")
    assert call(monkeypatch, "show", "mine") == 0
    assert "tags: sweep lr-grid" in capsys.readouterr().out


def test_only_boxes_and_masks_can_be_exported_and_only_once_there_are_any(places, monkeypatch, capsys):
    for task, reason in (
        ("regression", "only boxes (detection) and masks (segmentation) can be exported"),
        ("detection", "Next: assay run x"),
        ("segmentation", "Next: assay run x"),
    ):
        (places / "experiments").mkdir(exist_ok=True)
        (places / "experiments" / "x.yaml").write_text(f"task: {task}\n")
        assert call(monkeypatch, "export", "x", "--format", "coco", "--to", str(places / "out")) == 1
        assert reason in capsys.readouterr().err
    assert call(monkeypatch, "export", "x", "--format", "yolo", "--to", str(places / "out")) == 1
    assert "--format yolo has no masks" in capsys.readouterr().err
