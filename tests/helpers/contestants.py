"""Finished experiments that compete for a board, made up item by item: whose answer is right is up to the test."""

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from assay.analysis.base import ANALYSIS_SCHEMA
from assay.comparison.champions import consider
from assay.datasets.schema import ITEMS_FILE, PREDICTIONS_FILE
from assay.experiments.boards import BoardOutcome, Boards, BoardState, entered
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.pipeline import needed_stages, stage_config, used_inputs
from assay.spec.yaml_text import to_yaml
from assay.storage.parquet import write_parquet
from assay.storage.results import ResultStore
from assay.training.class_targets import ClassTarget
from assay.training.inputs import Inputs
from assay.training.model_card import ModelCard
from assay.training.model_file import CHOSEN, save_model
from assay.training.summary import TRAINING_SUMMARY
from tests.helpers.results import build

CLASSES = ("cat", "dog")
SILENT = {"git_versions": False, "environment": False}
ITEMS = 200
REPORT = {"summary": "made up", "next": "nothing"}


@dataclass(frozen=True)
class Contest:
    """A project whose experiments are finished without training."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "storage"

    @property
    def specs(self) -> SpecFiles:
        return SpecFiles(self.folder / "experiments", self.root)

    @property
    def boards(self) -> Boards:
        return Boards(self.root)

    def copied(self, place: Path, patch: pytest.MonkeyPatch) -> "Contest":
        """Return a copy in a folder, which is the project of this process from now on."""
        contest = Contest(shutil.copytree(self.folder, place / "contest", symlinks=True))
        patch.setenv("ASSAY_STORAGE", str(contest.root))
        patch.setenv("ASSAY_EXPERIMENTS", str(contest.specs.folder))
        patch.setenv("DAGSTER_HOME", str(place / "home"))
        patch.chdir(contest.folder)
        return contest

    def enter(self, name: str, **keys: Any) -> None:
        """Write the file of an experiment, which makes other results than those of other names."""
        keys = {"board": "pets", "exptests": {"tests": []}, **keys}
        model = {"exp_initializer": SILENT, "seed": sum(name.encode()), **keys.pop("trained_model", {})}
        path = self.specs.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_yaml({"task": "classification", "trained_model": model, **keys}))

    def finish(self, name: str, wrong: Collection[int] = (), items: int = ITEMS, **keys: Any) -> None:
        """Make the results of an experiment whose model gives the wrong answer for these of its test items."""
        self.enter(name, **keys)
        spec, store, folders = self.specs.load(name), ResultStore(self.root), ExperimentFolders(self.root)
        folders.open(name, spec)
        rows = _predictions(frozenset(wrong), items)
        made: dict[str, Any] = {}
        contents = {
            "splits": lambda folder: _write_splits(folder, items),
            "trained_model": lambda folder: _write_model(folder, stage_config(spec, name, "trained_model").section),
            "predictions": lambda folder: write_parquet(rows, folder / PREDICTIONS_FILE),
            "analysis": lambda folder: write_parquet(_analysis(rows), folder / "analysis.parquet"),
        }
        for stage in needed_stages(spec):
            inputs = {each: made[each] for each in used_inputs(spec, stage)}
            fill = contents.get(stage, lambda folder: None)
            config = stage_config(spec, name, stage)
            made[stage] = build(store, config, inputs, lambda folder, fill=fill: fill(folder) or REPORT)
            folders.publish(name, made[stage])

    def consider(self, *names: str, board: str = "pets") -> BoardOutcome:
        """Let experiments compete, or all whose specs name the board."""
        found = entered(self.specs)[0].get(board, {})
        return consider(self.root, self.specs, board, {name: found[name] for name in names or found})

    def state(self, board: str = "pets") -> BoardState:
        state = self.boards.state(board)
        assert state is not None
        return state

    def champion(self, board: str = "pets") -> str:
        champion = self.state(board).champion
        assert champion is not None
        return champion.experiment_id


def _names(items: int) -> list[str]:
    return [f"{number:04}" for number in range(items)]


def _predictions(wrong: frozenset[int], items: int) -> pl.DataFrame:
    target = [number % 2 for number in range(items)]
    answers = [1 - each if number in wrong else each for number, each in enumerate(target)]
    return pl.DataFrame(
        {
            "item": _names(items),
            "subset": "test",
            "target_class": [CLASSES[each] for each in target],
            "predicted_class": [CLASSES[each] for each in answers],
            "confidence": 0.8,
            "prob_cat": [0.2 if each else 0.8 for each in answers],
            "prob_dog": [0.8 if each else 0.2 for each in answers],
        }
    )


def _analysis(rows: pl.DataFrame) -> pl.DataFrame:
    value = (rows["target_class"] == rows["predicted_class"]).mean()
    common = {"subset": "test", "class": "", "baseline": 0.5, "baseline_name": "majority class", "unit": ""}
    found = [
        {"metric": "accuracy", "value": value, "ci_low": value - 0.05, "ci_high": min(value + 0.05, 1.0)},
        {"metric": "log_loss", "value": 1 - value, "ci_low": None, "ci_high": None},
    ]
    filled = [{**common, **row, "simple_value": None, "simple_model": None, "count": len(rows)} for row in found]
    return pl.DataFrame(filled, ANALYSIS_SCHEMA)


def _write_splits(folder: Path, items: int) -> None:
    names = _names(items)
    table = {"item": names, "subset": "test", "sha256": [f"hash of {name}" for name in names]}
    write_parquet(pl.DataFrame(table).with_columns(mask=pl.lit(None, pl.String)), folder / ITEMS_FILE)


def _write_model(folder: Path, section: Any) -> None:
    card = ModelCard(
        task="classification",
        section=section,
        inputs=Inputs(view="crops", image_size=16),
        target=ClassTarget(column="label", classes=CLASSES),
        trained_on={"crops": "cccc"},
        rows={"train": 2},
        seed=section.seed,
        epoch=1,
        chosen_by="best loss on validation",
        values={"loss": 0.5},
        torch_version=torch.__version__,
    )
    (folder / CHOSEN).parent.mkdir(parents=True, exist_ok=True)
    save_model(folder / CHOSEN, {"weight": torch.zeros(1)}, card)
    write_parquet(pl.DataFrame({"target": ["cat", "dog"]}), folder / TRAINING_SUMMARY)
