"""Section ``analysis``: the metrics computed from the predictions, and their confidence intervals."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from assay.errors import unknown
from assay.spec.base import Location, RemovedKeys, Section, Switch
from assay.spec.extensions import Extension, OrPlugin
from assay.spec.plugins import METRICS, RESULT_ANALYZERS, not_installed, plugins

TASK_METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("mae", "rmse", "mse", "r2"),
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
        "calibration_error",
        "roc_auc",
        "precision",
        "recall",
        "f1",
    ),
    "multi_label": (
        "macro_f1",
        "micro_f1",
        "exact_match",
        "hamming_loss",
        "ranking_average_precision",
        "coverage_error",
        "precision",
        "recall",
        "f1",
        "average_precision",
    ),
    "segmentation": ("mean_iou", "foreground_iou", "mean_dice", "pixel_accuracy", "iou", "dice", "precision", "recall"),
    "detection": ("map50_95", "map50", "map75", "recall100", "ap50_95", "ap50"),
}
"""The built-in metrics of each kind of learning; the first is the main metric of headlines and default tests."""

OF_EACH_CLASS = frozenset(("precision", "recall", "f1", "average_precision", "iou", "dice", "ap50_95", "ap50"))
"""The built-in metrics that have one value per class, and none over all classes."""

BUILT_IN_METRIC_NAMES = frozenset(name for names in TASK_METRICS.values() for name in names)


def _known_metric(name: str) -> str:
    if name in BUILT_IN_METRIC_NAMES or name in plugins(METRICS):
        return name
    choices = unknown("Metric", name, BUILT_IN_METRIC_NAMES | set(plugins(METRICS)))
    raise ValueError(f"{choices} Or {not_installed(METRICS, name)}.")


def added_metrics(names: Iterable[str | None]) -> Iterator[tuple[str, str]]:
    """Yield group and name of the metrics that installed packages add."""
    return ((METRICS, name) for name in names if name and name not in BUILT_IN_METRIC_NAMES)


MetricName = Annotated[str, AfterValidator(_known_metric)]
"""A built-in metric, or one that an installed package adds."""


class ResultAnalyzer(Section):
    """Metrics, intervals and lists computed from the predictions."""

    metrics: tuple[MetricName, ...] | None = Field(default=None, min_length=1)
    """Names of the metrics; null computes every metric of the task."""
    confidence: float = Field(default=0.95, ge=0.5, le=0.999)
    """Confidence level of the metrics' intervals."""
    bootstrap_samples: int = Field(default=1000, ge=0, le=100_000)
    """Number of bootstrap resamples for each interval; 0 computes no intervals."""
    bootstrap_unit: Literal["image", "item"] = "image"
    """Unit of resampling: ``image`` draws all items of an image together, because they resemble each other."""
    calibration_bins: int = Field(default=15, ge=2, le=100)
    """Number of bins of equal width between confidence 0 and 1."""
    simple_models: bool = True
    """Compare with a linear model and gradient boosting, or for pictures with a linear model on histograms of oriented
    gradients, learned from the same training data; not for segmentation and detection."""
    worst_items: int = Field(default=24, ge=1, le=1000)
    """Number of worst predictions of each subset that are listed and shown."""
    unit: str = Field(default="", max_length=40)
    """Unit of a regression target, such as ``mm``, shown with its metrics."""

    def added_names(self) -> Iterator[tuple[str, str]]:
        """Yield group and name of the metrics that installed packages add."""
        return added_metrics(self.metrics or ())

    def metrics_for(self, task: str) -> tuple[str, ...]:
        """Return the metrics to compute for a kind of learning, in the order of the spec.

        Raises:
            ValueError: A metric belongs to another kind of learning.
        """
        if self.metrics is None:
            return TASK_METRICS[task]
        for other, names in TASK_METRICS.items():
            wrong = [name for name in self.metrics if name in names and name not in TASK_METRICS[task]]
            if wrong:
                raise ValueError(
                    f"result_analyzer.metrics: {', '.join(wrong)} belong to task {other}, but task is {task}. "
                    f"Choices: {', '.join(TASK_METRICS[task])}."
                )
        return tuple(dict.fromkeys(self.metrics))


AnyAnalyzer = Annotated[ResultAnalyzer, OrPlugin(RESULT_ANALYZERS, Extension, ResultAnalyzer)]
"""The built-in analysis, or one that an installed package extends."""


class AnalysisSection(Section):
    """Metrics with intervals and baselines, pictures, and the worst predictions."""

    result_analyzer: AnyAnalyzer = ResultAnalyzer()
    """Metrics, intervals and lists."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the bootstrap; null uses the experiment's."""
    remove_key_list: RemovedKeys = None
    """Keys to remove, at any depth, from this section's saved configuration; null: those of the experiment's
    ``remove_key_list``."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""
