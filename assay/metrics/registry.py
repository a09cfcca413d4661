"""All metrics by task and name: how each is computed, which direction is better, and its unit.

Belongs here: the table of metrics. Does not belong here: arithmetic. The names are also listed in
``assay.spec.analysis.TASK_METRICS``, because a spec is read without NumPy; a test keeps both equal. An installed
package adds a metric through an entry point in the group ``assay.metrics``: its name is that of the metric, its object
a ``Metric``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from assay.errors import AssayError, unknown
from assay.metrics import classification, detection, multi_label, regression, segmentation
from assay.metrics.intervals import OF_ANYTHING, OfDeviations, OfMean, OfShare, OfSquares, Rule
from assay.metrics.samples import Floats
from assay.spec.extensions import guarded
from assay.spec.plugins import METRICS, load_plugin, plugins

FREQUENCIES = "train frequencies"
CERTAIN = "certain of every prediction"
EVERY_CLASS = "guess of every class"

BASELINES = {
    "regression": "train mean",
    "classification": "majority class",
    "multi_label": FREQUENCIES,
    "segmentation": "commonest object class",
    "detection": "mean box of each class",
}
"""By task: the trivial prediction that its metrics are compared with, unless a metric names another one."""


@dataclass(frozen=True)
class Metric:
    """One way to score predictions.

    Attributes:
        task: What is learned, such as ``regression`` or ``multi_label``.
        compute: Takes a sample with b weightings; returns values (b,), or (b, k) if ``per_class``.
        label: Its name as people write it.
        higher_is_better: Whether higher values are better.
        unit: Unit of the value; ``{unit}`` stands for the unit of a regression target.
        per_class: Whether there is one value for each class.
        class_count: The only number of classes that it is defined for; None if there is no such limit.
        baseline: The trivial prediction that it is compared with; empty for the usual one of its task.
        interval: How its confidence interval is found; percentiles of draws for a metric of a package.
    """

    task: str
    compute: Callable[[Any], Floats]
    label: str
    higher_is_better: bool = True
    unit: str = ""
    per_class: bool = False
    class_count: int | None = None
    baseline: str = ""
    interval: Rule = OF_ANYTHING

    @property
    def baseline_name(self) -> str:
        """Name of the trivial prediction that it is compared with."""
        return self.baseline or BASELINES[self.task]

    def unit_for(self, target_unit: str) -> str:
        """Return the unit; empty when it derives from a target whose unit is not known."""
        if "{unit}" in self.unit and not target_unit:
            return ""
        return self.unit.replace("{unit}", target_unit)

    def beats(self, value: float, baseline: float) -> bool:
        """Return whether ``value`` is strictly better than ``baseline``."""
        return value > baseline if self.higher_is_better else value < baseline


_REGRESSION = {
    "mae": Metric(
        "regression",
        regression.mean_absolute_error,
        "MAE",
        False,
        "{unit}",
        interval=OfMean(regression.absolute_errors),
    ),
    "rmse": Metric(
        "regression",
        regression.root_mean_squared_error,
        "RMSE",
        False,
        "{unit}",
        interval=OfSquares(regression.errors),
    ),
    "mse": Metric(
        "regression",
        regression.mean_squared_error,
        "MSE",
        False,
        "{unit}²",
        interval=OfSquares(regression.errors),
    ),
    "r2": Metric(
        "regression", regression.r_squared, "R²", interval=OfSquares(regression.errors_and_deviations, best=1.0)
    ),
}
_OF_CLASSES = OfShare(classification.balanced_count, least_per_class=8)
_CLASSIFICATION = {
    "accuracy": Metric(
        "classification", classification.accuracy, "accuracy", interval=OfShare(hits=classification.hits)
    ),
    "balanced_accuracy": Metric(
        "classification", classification.balanced_accuracy, "balanced accuracy", interval=_OF_CLASSES
    ),
    "macro_f1": Metric("classification", classification.macro_f1, "macro F1", interval=_OF_CLASSES),
    "log_loss": Metric(
        "classification",
        classification.log_loss,
        "log loss",
        False,
        "nats",
        baseline=FREQUENCIES,
        interval=OfMean(classification.log_losses, least=1000, largest_share=0.05),
    ),
    "calibration_error": Metric(
        "classification",
        classification.calibration_error,
        "calibration error",
        False,
        baseline=CERTAIN,
        interval=OfDeviations(classification.deviations_from_calibration),
    ),
    "roc_auc": Metric(
        "classification",
        classification.roc_auc,
        "ROC AUC",
        class_count=2,
        baseline=FREQUENCIES,
        interval=OfShare(classification.rarest_count),
    ),
    "precision": Metric(
        "classification",
        classification.precision,
        "precision",
        per_class=True,
        interval=OfShare(classification.predicted_counts),
    ),
    "recall": Metric(
        "classification",
        classification.recall,
        "recall",
        per_class=True,
        interval=OfShare(classification.true_counts),
    ),
    "f1": Metric(
        "classification", classification.f1, "F1", per_class=True, interval=OfShare(classification.true_counts)
    ),
}
_SEGMENTATION = {
    "mean_iou": Metric("segmentation", segmentation.mean_iou, "mean IoU", interval=OfShare()),
    "foreground_iou": Metric("segmentation", segmentation.foreground_iou, "foreground IoU", interval=OfShare()),
    "mean_dice": Metric("segmentation", segmentation.mean_dice, "mean Dice", interval=OfShare()),
    "pixel_accuracy": Metric(
        "segmentation", segmentation.pixel_accuracy, "pixel accuracy", baseline="majority class", interval=OfShare()
    ),
    "iou": Metric("segmentation", segmentation.iou, "IoU", per_class=True, interval=OfShare()),
    "dice": Metric("segmentation", segmentation.dice, "Dice", per_class=True, interval=OfShare()),
    "precision": Metric("segmentation", segmentation.precision, "precision", per_class=True, interval=OfShare()),
    "recall": Metric("segmentation", segmentation.recall, "recall", per_class=True, interval=OfShare()),
}
_DETECTION = {
    "map50_95": Metric("detection", detection.map50_95, "mAP@50:95", interval=OfShare()),
    "map50": Metric("detection", detection.map50, "mAP@50", interval=OfShare()),
    "map75": Metric("detection", detection.map75, "mAP@75", interval=OfShare()),
    "recall100": Metric("detection", detection.recall100, "recall@100", interval=OfShare()),
    "ap50_95": Metric("detection", detection.ap50_95, "AP@50:95", per_class=True, interval=OfShare()),
    "ap50": Metric("detection", detection.ap50, "AP@50", per_class=True, interval=OfShare()),
}
_MULTI_LABEL = {
    "macro_f1": Metric(
        "multi_label",
        multi_label.macro_f1,
        "macro F1",
        baseline=EVERY_CLASS,
        interval=OfShare(multi_label.balanced_label_count, least_per_class=8),
    ),
    "micro_f1": Metric("multi_label", multi_label.micro_f1, "micro F1", baseline=EVERY_CLASS, interval=OfShare()),
    "exact_match": Metric(
        "multi_label", multi_label.exact_match, "exact match", interval=OfShare(hits=multi_label.exact_matches)
    ),
    "hamming_loss": Metric("multi_label", multi_label.hamming_loss, "Hamming loss", False, interval=OfShare()),
    "ranking_average_precision": Metric(
        "multi_label", multi_label.ranking_average_precision, "ranking average precision", interval=OfShare()
    ),
    "coverage_error": Metric(
        "multi_label",
        multi_label.coverage_error,
        "coverage error",
        False,
        "classes",
        interval=OfMean(multi_label.coverages),
    ),
    "precision": Metric(
        "multi_label",
        multi_label.precision,
        "precision",
        per_class=True,
        interval=OfShare(multi_label.predicted_label_counts),
    ),
    "recall": Metric(
        "multi_label", multi_label.recall, "recall", per_class=True, interval=OfShare(multi_label.true_label_counts)
    ),
    "f1": Metric(
        "multi_label",
        multi_label.f1,
        "F1",
        per_class=True,
        baseline=EVERY_CLASS,
        interval=OfShare(multi_label.true_label_counts),
    ),
    "average_precision": Metric(
        "multi_label",
        multi_label.average_precision,
        "average precision",
        per_class=True,
        interval=OfShare(multi_label.true_label_counts),
    ),
}
BUILT_IN_METRICS: Mapping[str, Mapping[str, Metric]] = {
    "regression": _REGRESSION,
    "classification": _CLASSIFICATION,
    "multi_label": _MULTI_LABEL,
    "segmentation": _SEGMENTATION,
    "detection": _DETECTION,
}
"""By task, then by name. A name that several tasks share means the same in each, including which way is better."""


def get_metric(name: str, task: str = "") -> Metric:
    """Return a metric; a package that adds it is only imported now.

    Args:
        name: Its name.
        task: The task; empty for any that has the metric, where only its label and better direction matter.

    Raises:
        AssayError: No metric has this name, or none of this task.
    """
    for candidate in [task] if task else [*BUILT_IN_METRICS]:
        if name in BUILT_IN_METRICS.get(candidate, {}):
            return BUILT_IN_METRICS[candidate][name]
    if name in plugins(METRICS):
        metric: Metric = load_plugin(METRICS, name, Metric)
        if task in ("", metric.task):
            return replace(metric, compute=guarded(METRICS, name, metric.compute))
    if others := [each for each, metrics in BUILT_IN_METRICS.items() if name in metrics]:
        raise AssayError(f"{name} is not a metric of {task}, but of {', '.join(others)}.")
    raise AssayError(unknown("Metric", name, [*_built_in_names(), *plugins(METRICS)]))


def get_metrics(names: Iterable[str], task: str, class_count: int | None = None) -> dict[str, Metric]:
    """Return metrics by name, without those that are not defined for this number of classes.

    Raises:
        AssayError: A metric does not exist or belongs to another task.
    """
    metrics = {name: get_metric(name, task) for name in names}
    return {name: metric for name, metric in metrics.items() if metric.class_count in (None, class_count)}


def label_of(name: str) -> str:
    """Return a metric's name as people write it; the name itself for metrics of packages, which are not imported."""
    return next((metrics[name].label for metrics in BUILT_IN_METRICS.values() if name in metrics), name)


def _built_in_names() -> list[str]:
    return list(dict.fromkeys(name for metrics in BUILT_IN_METRICS.values() for name in metrics))
