"""A storage with experiments in several states, as runs leave them."""

import json
from pathlib import Path

import polars as pl
from PIL import Image

from assay.experiments.folders import ExperimentFolder, ExperimentFolders, experiment_row
from assay.experiments.specs import SpecFiles
from assay.training.trained_model import SCHEMA as HISTORY
from tests.helpers.comparison_cases import put, run, start, values

CHECKS = """\
name,kind,passed,severity,blocking,description,measured,expected
files exist,files_exist,True,error,False,All there.,36 files,all of them
gate,metric,False,error,False,mae is 0.5.,0.5,mae < 0.1
"""


def make_storage(root: Path) -> SpecFiles:
    """Make ``ran`` and ``other`` with results, ``failed`` with those of an earlier spec, ``started`` without any."""
    store = SpecFiles(root / "experiments", root)
    tags = {"sweep": "rates", "api_key": "planted"}
    store.create(values(0.001, name="<b>bold</b> ![x](http://127.0.0.1/x)", tags=tags), "ran")
    store.create(values(0.01, tags={"sweep": "rates"}), "other")
    store.create(values(0.02), "failed")
    store.create(values(0.03), "started")
    for number, name in enumerate(("ran", "other", "failed"), start=1):
        run(store, name, mae=number / 2)
    store.store("failed", values(0.5))
    start(store, "failed")
    start(store, "started")
    _make_older(store, "other", "2026-05-03T12.00.00.000000Z-0123456789ab", epochs=5)
    return store


def _make_older(store: SpecFiles, experiment_id: str, run_id: str, epochs: int) -> None:
    """Let an experiment have begun on another day, and been trained for as many epochs."""
    spec = store.load(experiment_id)
    row = {**experiment_row(experiment_id, spec, None), "run_id": run_id}
    put(store, "experiments", experiment_id, pl.DataFrame([row]))
    history = [(epoch, "train", "loss", 1.0) for epoch in range(1, epochs + 1)]
    put(store, "training_history", experiment_id, pl.DataFrame(history, HISTORY, orient="row"))


def folder_of(root: Path, experiment_id: str) -> Path:
    found: ExperimentFolder | None = ExperimentFolders(root).find(experiment_id)
    assert found is not None
    return found.path


def draw(path: Path, grey: int = 128) -> bytes:
    """Write a small PNG and return its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(path)
    return path.read_bytes()


def result_folder(root: Path, experiment_id: str, stage: str) -> Path:
    """Return the folder of a stage's result behind an experiment's analysis; gives it to the experiment's own."""
    manifest = folder_of(root, experiment_id) / "manifest.json"
    content = json.loads(manifest.read_text())
    (analysis,) = root.glob(f"*/analysis/{content['results']['analysis']}/manifest.json")
    fingerprint = json.loads(analysis.read_text())["ancestors"][stage]
    content["results"][stage] = fingerprint
    manifest.write_text(json.dumps(content))
    (found,) = root.glob(f"*/{stage}/{fingerprint}")
    return found
