"""The stages of one experiment, in a temporary folder, without Dagster.

Belongs here: running the stages. Does not belong here: which experiments (``cases``), what is reported (``measure``).
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.analysis.build import build_analysis, inputs_of_model
from assay.pipeline import stage_config, trains_from
from assay.spec.experiment import ExperimentSpec
from assay.stages.crops import build_crops
from assay.stages.generated_images import build_source
from assay.stages.normalized import build_normalized
from assay.stages.splits import build_splits
from assay.stages.tabular import TABULAR_FILE, build_tabular
from assay.storage.files import write_json
from assay.storage.parquet import read_parquet, scan_parquet
from assay.storage.results import REPORT
from assay.training.data import DataSource
from assay.training.predictions import build_predictions
from assay.training.trained_model import build_trained_model

DATA_STAGES = ("generated_images", "splits", "crops", "tabular", "normalized")

Values = dict[str, float]
"""Metric of the test subset by name, and the analysis' own trivial baseline as ``<name> baseline``."""


class Seconds(NamedTuple):
    """What a training took."""

    wall: float
    cpu: float


class Data:
    """The data stages of one experiment."""

    def __init__(self, root: Path, spec: ExperimentSpec) -> None:
        self.root, self.spec = root, spec
        self.folders = {name: self._new(name) for name in DATA_STAGES}
        images, splits, crops, tabular, normalized = self.folders.values()
        self._keep(images, build_source(stage_config(spec, "bench", "generated_images"), images))
        self._keep(splits, build_splits(images, spec.splits, spec.seed, splits))
        if trains_from(spec) != "splits":
            self._keep(crops, build_crops(splits, spec.crops, crops))
            self._keep(tabular, build_tabular(images, splits, crops, spec.tabular, tabular))
            self._keep(
                normalized, build_normalized(scan_parquet(tabular / TABULAR_FILE), tabular, spec.normalized, normalized)
            )

    @staticmethod
    def _keep(folder: Path, report: dict[str, Any]) -> None:
        """Put a stage's report where the next stages look for it, as the result store does."""
        write_json(folder / REPORT, report)

    def _new(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True)
        return folder

    def source(self) -> DataSource:
        """Return what the model learns from."""
        kind = trains_from(self.spec)
        norm_info = self.folders["normalized"] / self.spec.normalized.output_norm_feature_info_file_name
        return DataSource(kind, self.folders[kind], "bench", norm_info if kind == "normalized" else None)

    def learn(self) -> tuple[Path, Seconds]:
        """Train; return the model's folder and what the training took."""
        folder, spec = self._new("trained_model"), self.spec
        wall, cpu = time.perf_counter(), time.process_time()
        build_trained_model(spec.trained_model, spec.learning, spec.seed, self.source(), folder)
        seconds = Seconds(time.perf_counter() - wall, time.process_time() - cpu)
        return folder, seconds

    def judge(self, model: Path) -> Values:
        """Return the metrics of a model, given by its folder, on the test subset."""
        answers, folder = self.predictions_of(model), self._new(f"analysis-{model.parent.name}")
        answers.mkdir()
        asked = self.spec.predictions.model_copy(update={"datasets": ("test",)})
        build_predictions(asked, self.spec.learning, self.spec.seed, self.source(), model, answers)
        read = inputs_of_model(model, answers, self.folders["splits"])
        build_analysis(read, self.spec.analysis, self.spec.seed, folder)
        table = read_parquet(folder / "analysis.parquet").filter(pl.col("class") == "")
        values = dict(table.select("metric", "value").iter_rows())
        return values | {f"{name} baseline": value for name, value in table.select("metric", "baseline").iter_rows()}

    def predictions_of(self, model: Path) -> Path:
        """Return the folder of what a model, given by its folder, predicts for the test subset."""
        return self.root / f"predictions-{model.parent.name}"

    def rows(self, *subsets: str) -> tuple[NDArray[np.float32], pl.DataFrame]:
        """Return the pixels of some subsets as (n, columns), each row standardized, and the rest of the rows."""
        table = read_parquet(self.folders["normalized"] / "normalized.parquet")
        table = table.filter(pl.col("subset").is_in(subsets))
        pixels = table.select("^px_.*$").to_numpy().astype(np.float32)
        spread = pixels.std(axis=1, keepdims=True) + 1e-3
        return (pixels - pixels.mean(axis=1, keepdims=True)) / spread, table
