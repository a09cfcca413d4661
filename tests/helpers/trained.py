"""A project in a temporary folder whose experiments are run in this process, stage by stage, without Dagster."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assay.experiments.building import build_stage
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.experiments.workspace import EXPERIMENTS_VARIABLE, LOCATIONS_VARIABLE, STORAGE_VARIABLE
from assay.pipeline import needed_stages, stage_config, used_inputs
from assay.spec.yaml_text import to_yaml
from assay.stages.analysis import analyse
from assay.stages.crops import build_crops
from assay.stages.generated_images import build_source, content_digest
from assay.stages.normalized import build_normalized
from assay.stages.predictions import predict
from assay.stages.splits import build_splits
from assay.stages.tabular import build_tabular
from assay.stages.trained_model import train
from assay.storage.locations.config import Locations
from assay.storage.results import Result

NUMBERS = {
    "kind": "numbers",
    "sample_count": 24,
    "img_size": {"width": 100, "height": 84},
    "font_size_min": 24,
    "font_size_max": 40,
    "max_amount": 3,
}
TINY: dict[str, Any] = {"epochs": 2, "least_steps": 0}


def _values(task: str, **trained: Any) -> dict[str, Any]:
    params = {**TINY, **trained.pop("train_params", {})}
    return {
        "task": task,
        "generated_images": {"source": NUMBERS},
        "trained_model": {"train_params": params, "net_data": {"samples": 0}, **trained},
        "analysis": {"result_analyzer": {"bootstrap_samples": 20, "simple_models": False}},
    }


def _fitted(kind: str, **keys: Any) -> dict[str, Any]:
    """Return an experiment whose model is fitted at once."""
    chosen = {"model": {"kind": kind, **keys}, "net_data": {"samples": 0}}
    return {**_values("regression"), "generated_images": {"source": GAPS}, "trained_model": chosen}


LABELS = [*"0123456789", {"name": "even", "subclasses": ["0", "2", "4", "6", "8"]}]
BINARY = {**{each: "small" for each in "01234"}, **{each: "large" for each in "56789"}}
TABLE = {"kind": "table", "path": "houses.csv", "target_column": "price", "delimiter": ";", "decimal": ","}
GAPS = {**TABLE, "path": "gaps.csv"}
DATES = {**TABLE, "path": "dates.csv"}

FAMILIES: dict[str, dict[str, Any]] = {
    "regression": _values("regression"),
    "table": {**_values("regression"), "generated_images": {"source": TABLE}},
    "gaps": {**_values("regression"), "generated_images": {"source": GAPS}},
    "linear": _fitted("linear"),
    "boosted": {
        **_fitted("gradient_boosting", trees=12, least_rows=5),
        "generated_images": {"source": DATES},
    },
    "binary": _values("classification", data_description={"class_mapping": BINARY}, train_params={"decision": "tuned"}),
    "softmax": _values("classification", train_params={"calibration": "temperature"}),
    "multilabel": _values(
        "classification",
        data_description={"multi_label": True, "classes": LABELS},
        train_params={"decision": "tuned", "calibration": "temperature"},
    ),
    "segmentation": _values("segmentation", train_params={"epochs": 40}),
    "detection": {
        **_values("detection", train_params={"epochs": 6}),
        "predictions": {"prediction_handler": {"min_confidence": 0.01, "max_boxes": 7}},
    },
}
"""A small experiment of every family, by its ID."""

TABLES = ("table", "gaps", "linear", "boosted")
"""Those of the user's own rows."""


def write_houses(path: Path, count: int = 80, seed: int = 0, gaps: float = 0.0, dates: bool = False) -> None:
    """Write a table as spreadsheets do in Germany: ``;`` between values, ``,`` before decimals; a share is missing.

    With dates, a further column says when each house was sold.
    """
    drawn = random.Random(seed)
    lines = [f"size;rooms;town;garden;{'sold;' if dates else ''}price"]
    for _ in range(count):
        size, rooms, town = drawn.uniform(40, 200), drawn.randint(1, 7), drawn.choice(["Ulm", "Bonn", "Kiel"])
        garden = drawn.choice(["true", "false"])
        price = 2 * size + 10 * rooms + (50 if town == "Bonn" else 0)
        sold = datetime(2021, 1, 1) + timedelta(hours=drawn.randint(0, 24_000)) if dates else None
        price += 40 * (sold.year - 2021) + sold.hour if sold else 0
        cells = [f"{size:.2f}", str(rooms), town, garden, *([f"{sold:%Y-%m-%dT%H:%M}"] if sold else []), f"{price:.1f}"]
        if gaps:
            cells = ["" if drawn.random() < gaps else cell for cell in cells[:-1]] + cells[-1:]
        lines.append(";".join(cells).replace(".", ","))
    path.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class TrainedProject:
    """The folder of a project: its experiments and its storage."""

    folder: Path

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def specs(self) -> SpecFiles:
        return SpecFiles(self.folder / "experiments", self.storage)

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Make it the project of this process."""
        patch.setenv(STORAGE_VARIABLE, str(self.storage))
        patch.setenv(EXPERIMENTS_VARIABLE, str(self.folder / "experiments"))
        patch.setenv(LOCATIONS_VARIABLE, str(self.folder / "locations.yaml"))
        patch.chdir(self.folder)

    def write(self, experiment_id: str, values: dict[str, Any]) -> None:
        path = self.folder / "experiments" / f"{experiment_id}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml(values))

    def run(self, experiment_id: str, until: str = "analysis") -> dict[str, Result]:
        """Run an experiment's stages; the working directory must be the project's."""
        spec = self.specs.load(experiment_id)
        ExperimentFolders(self.storage).open(experiment_id, spec)
        locations = Locations(self.folder / "locations.yaml", self.storage)
        made: dict[str, Result] = {}
        for stage in needed_stages(spec):
            config = stage_config(spec, experiment_id, stage)
            inputs: dict[str, Any] = {name: made[name] for name in used_inputs(spec, stage)}
            if stage == "generated_images":
                inputs = {"source": content_digest(config, self.storage)}
            with build_stage(locations, config, inputs, {}) as build:
                if build.needed:
                    build.report = _build(config, made, build.folder)
            made[stage] = build.result
            if stage == until:
                break
        return made


def _build(config: Any, made: dict[str, Result], folder: Path) -> dict[str, Any]:
    section, folders = config.section, {stage: result.folder for stage, result in made.items()}
    rows = pl.scan_parquet(folders["normalized"] / "normalized.parquet") if "normalized" in made else None
    data = made.get("normalized") or made.get("crops") or made.get("splits")
    inputs = {**made, data.stage: data} if data else dict(made)
    tabular = folders.get("tabular", folder)
    match config.stage:
        case "generated_images":
            return build_source(config, folder)
        case "splits":
            return build_splits(folders["generated_images"], section, config.seed, folder)
        case "crops":
            return build_crops(folders["splits"], section, folder)
        case "tabular":
            source, splits = folders["generated_images"], folders["splits"]
            return build_tabular(source, splits, folders.get("crops"), section, folder)
        case "normalized":
            return build_normalized(pl.scan_parquet(tabular / "tabular.parquet"), tabular, section, folder)
        case "trained_model":
            return train(config, _data(config, made), rows, folder)
        case "predictions":
            return predict(config, made["trained_model"], _data(config, made), rows, folder)
    predictions = pl.scan_parquet(folders["predictions"] / "predictions.parquet")
    return analyse(config, predictions, inputs, _data(config, made), rows, folder)


def _data(config: Any, made: dict[str, Result]) -> Result:
    whole = config.task in ("segmentation", "detection")
    return made["splits"] if whole else made.get("normalized") or made["crops"]


def make_trained_project(folder: Path, families: dict[str, dict[str, Any]] = FAMILIES) -> TrainedProject:
    """Make a project with these experiments, all of them run."""
    project = TrainedProject(folder)
    write_houses(folder / "houses.csv")
    write_houses(folder / "gaps.csv", gaps=0.15)
    write_houses(folder / "dates.csv", gaps=0.1, dates=True)
    with pytest.MonkeyPatch.context() as patch:
        project.enter(patch)
        for experiment_id, values in families.items():
            project.write(experiment_id, values)
            project.run(experiment_id)
    return project
