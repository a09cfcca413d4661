"""What the default settings reach on held-out data, three seeds each, beside scikit-learn on the same rows.

Every seed draws its own data, division and weights, and runs the real stages. Training time is that of the stage
``trained_model`` alone, reading included.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.crops import build_crops
from assay.example_data import write_handwritten_digits
from assay.files import write_json
from assay.learning.predictions import build_predictions
from assay.learning.source import DataSource
from assay.learning.trained_model import build_trained_model
from assay.normalized import build_normalized
from assay.parallel import usable_cores
from assay.pipeline import slice_of, trains_from
from assay.results import REPORT
from assay.sources import build_source
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.resolve import resolve
from assay.splits import build_splits
from assay.tables import read_parquet
from assay.tabular import build_tabular

SAMPLE_COUNT = 400
"""Images, as in the templates; about 1,240 objects to learn from and 360 to test."""
DATA_STAGES = ("generated_images", "splits", "crops", "tabular", "normalized")
HALVES = {str(digit): "low" if digit < 5 else "high" for digit in range(10)}


@dataclass(frozen=True)
class Goal:
    """What must be reached on the test subset.

    Attributes:
        name: Shown.
        compute: From predictions to a number.
        target: Least value, or largest where lower is better.
        lower_is_better: Which way is better.
        unit: Of the number.
    """

    name: str
    compute: Callable[[pl.DataFrame], float]
    target: float
    lower_is_better: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Case:
    """One kind of experiment.

    Attributes:
        name: Shown.
        keys: Of the spec.
        goals: What must be reached.
        seconds: Training time that must not be exceeded.
        baseline: scikit-learn on the same rows.
    """

    name: str
    keys: dict[str, Any]
    goals: tuple[Goal, ...]
    seconds: float
    baseline: Callable[["Data"], pl.DataFrame]


class Data:
    """The data stages of one experiment, in a temporary folder."""

    def __init__(self, root: Path, spec: ExperimentSpec) -> None:
        self.root, self.spec = root, spec
        self.folders = {name: self._new(name) for name in DATA_STAGES}
        images, splits, crops, tabular, normalized = self.folders.values()
        self._keep(images, build_source(slice_of(spec, "bench", "generated_images"), images))
        self._keep(splits, build_splits(images, spec.splits, spec.seed, splits))
        self._keep(crops, build_crops(splits, spec.crops, crops))
        self._keep(tabular, build_tabular(images, splits, crops, spec.tabular, tabular))
        self._keep(normalized, build_normalized(tabular, spec.normalized, normalized))

    @staticmethod
    def _keep(folder: Path, report: dict[str, Any]) -> None:
        """Put a stage's report where the next stages look for it, as the result store does."""
        write_json(folder / REPORT, report)

    def _new(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir()
        return folder

    def source(self) -> DataSource:
        """Return what the model learns from."""
        kind = trains_from(self.spec)
        norm_info = self.folders["normalized"] / self.spec.normalized.output_norm_feature_info_file_name
        return DataSource(kind, self.folders[kind], "bench", norm_info if kind == "normalized" else None)

    def learn(self) -> tuple[pl.DataFrame, float, float]:
        """Train and predict; return the predictions of the test subset, wall and CPU seconds of the training."""
        spec, model, answers = self.spec, self._new("trained_model"), self._new("predictions")
        wall, cpu = time.perf_counter(), time.process_time()
        build_trained_model(spec.trained_model, spec.task, spec.seed, self.source(), model)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        build_predictions(spec.predictions, spec.task, spec.seed, self.source(), model, answers)
        return read_parquet(answers / "predictions.parquet").filter(pl.col("subset") == "test"), wall, cpu

    def rows(self, *subsets: str) -> tuple[NDArray[np.float32], pl.DataFrame]:
        """Return the pixels of some subsets as (n, columns), each row standardized, and the rest of the rows."""
        table = read_parquet(self.folders["normalized"] / "normalized.parquet")
        table = table.filter(pl.col("subset").is_in(subsets))
        pixels = table.select("^px_.*$").to_numpy().astype(np.float32)
        spread = pixels.std(axis=1, keepdims=True) + 1e-3
        return (pixels - pixels.mean(axis=1, keepdims=True)) / spread, table


def gradient_boosting(data: Data) -> pl.DataFrame:
    """Predict numbers by scikit-learn's gradient boosting, from the same standardized rows."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    known, train = data.rows("train", "validation")
    asked, test = data.rows("test")
    model = HistGradientBoostingRegressor(random_state=0).fit(known, train["target"])
    return test.select("target").with_columns(pl.Series("prediction", model.predict(asked)))


def support_vectors(data: Data) -> pl.DataFrame:
    """Predict classes by scikit-learn's support vector machine, from the rows of grey pixels."""
    from sklearn.svm import SVC

    mapping = data.spec.trained_model.data_description.class_mapping
    known, train = data.rows("train", "validation")
    asked, test = data.rows("test")
    classes, wanted = ([mapping.get(label, label) for label in rows["label"]] for rows in (train, test))
    model = SVC(C=10).fit(known, classes)
    return pl.DataFrame({"target_class": wanted, "predicted_class": model.predict(asked)})


def mean_absolute_error(answers: pl.DataFrame) -> float:
    """Return the MAE in digits."""
    return float((answers["target"] - answers["prediction"]).abs().mean())  # type: ignore[arg-type]


def r_squared(answers: pl.DataFrame) -> float:
    """Return the share of the variance that is explained."""
    error = (answers["target"] - answers["prediction"]).pow(2).mean()
    return 1 - float(error) / float(answers["target"].var(ddof=0))  # type: ignore[arg-type]


def accuracy(answers: pl.DataFrame) -> float:
    """Return the share of right answers."""
    return float((answers["target_class"] == answers["predicted_class"]).mean())  # type: ignore[arg-type]


def cases(digits: Path, count: int) -> list[Case]:
    """Return what is measured.

    Args:
        digits: Folder of scikit-learn's handwritten digits, one folder per class.
        count: Generated images.
    """
    source = {"kind": "numbers", "sample_count": count}
    regression = {"task": "regression", "generated_images": {"source": source}}
    softmax = {"task": "classification", "generated_images": {"source": source}}
    binary = softmax | {"trained_model": {"data_description": {"class_mapping": HALVES}}}
    own = {
        "task": "classification",
        "generated_images": {"source": {"kind": "image_folder", "path": str(digits)}},
        "tabular": {"target_image_size": {"width": 8, "height": 8}},
    }
    numbers = (Goal("MAE", mean_absolute_error, 1.3, True, "digits"), Goal("R²", r_squared, 0.6))
    return [
        Case("regression", regression, numbers, 15, gradient_boosting),
        Case("softmax", softmax, (Goal("accuracy", accuracy, 0.985),), 65, support_vectors),
        Case("binary", binary, (Goal("accuracy", accuracy, 0.965),), 65, support_vectors),
        Case("handwritten digits", own, (Goal("accuracy", accuracy, 0.99),), 15, support_vectors),
    ]


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Train every case with three seeds; ``quick``: one seed on few images, to see that it runs."""
    seeds, count = ((0,), 60) if quick else ((0, 1, 2), SAMPLE_COUNT)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        digits = root / "handwritten"
        write_handwritten_digits(digits)
        return [row for case in cases(digits, count) for row in measure(case, seeds, root)]


def measure(case: Case, seeds: Sequence[int], root: Path) -> list[dict[str, Any]]:
    """Return one row per goal, for the median seed, and one for the time of its training."""
    learned, baselines, walls, cpus = [], [], [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            data = Data(Path(folder), resolve(spec_from({**case.keys, "seed": seed}, case.name)))
            answers, wall, cpu = data.learn()
            learned.append(answers)
            baselines.append(case.baseline(data))
        walls.append(wall)
        cpus.append(cpu)
    seconds = {
        "benchmark": f"{case.name}: training",
        "value": statistics.median(walls),
        "unit": "s",
        "target": f"≤ {case.seconds:g}",
        "floor": statistics.median(cpus) / usable_cores(),
        "note": f"{statistics.median(cpus):.0f} CPU seconds, the floor on {usable_cores()} idle cores",
    }
    return [*(goal_row(case, goal, learned, baselines) for goal in case.goals), seconds]


def goal_row(
    case: Case, goal: Goal, learned: Sequence[pl.DataFrame], baselines: Sequence[pl.DataFrame]
) -> dict[str, Any]:
    """Return what the median seed reaches, with every seed and the baseline beside it."""
    values = [goal.compute(answers) for answers in learned]
    beside = statistics.median(goal.compute(answers) for answers in baselines)
    items = "/".join(str(len(answers)) for answers in learned)
    return {
        "benchmark": f"{case.name}: {goal.name}",
        "value": statistics.median(values),
        "unit": goal.unit,
        "target": f"{'≤' if goal.lower_is_better else '≥'} {goal.target}",
        "floor": None,
        "note": f"seeds {', '.join(f'{value:.3f}' for value in values)} on {items} test items; "
        f"scikit-learn's {case.baseline.__name__.replace('_', ' ')}: {beside:.3f}",
    }
