"""All metrics by kind of learning and name: what each is computed by, which way is better, and its unit.

Belongs here: the list. Does not belong here: arithmetic. An installed package adds a metric by an entry point in the
group ``assay.metrics`` whose name is the metric's and whose object is a ``Metric``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.errors import AssayError, unknown
from assay.metrics import classification, detection, multi_label, regression, segmentation
from assay.metrics import classification as calibration
from assay.metrics import multi_label as multi_label_scores
from assay.metrics.samples import Floats
from assay.spec.analysis import METRIC_PLUGINS
from assay.spec.plugins import load_plugin, plugins

BASELINES = {
    "regression": "train mean",
    "classification": "majority class",
    "multi_label": "train frequencies",
    "segmentation": "commonest object class",
    "detection": "mean box of each class",
}
"""The trivial prediction that stands beside a metric of each kind of learning unless the metric names another one."""

FREQUENCIES = "train frequencies"
EVERY_CLASS = "guess of every class"


@dataclass(frozen=True)
class Metric:
    """One way to score predictions.

    Attributes:
        task: The kind of learning, such as ``regression`` or ``multi_label``.
        compute: From a sample with b weightings to values (b,), or (b, k) when ``per_class``.
        label: How people write its name.
        higher_is_better: Which way is better.
        unit: Unit of the value; ``{unit}`` stands for the label's.
        per_class: Whether there is one value for each class.
        class_count: The only number of classes it is defined for, if any.
        baseline: The trivial prediction that stands beside it; empty for the usual one of its kind of learning.
    """

    task: str
    compute: Callable[[Any], Floats]
    label: str
    higher_is_better: bool = True
    unit: str = ""
    per_class: bool = False
    class_count: int | None = None
    baseline: str = ""

    @property
    def baseline_name(self) -> str:
        """What the trivial prediction beside it knows of the training targets."""
        return self.baseline or BASELINES[self.task]

    def unit_for(self, label_unit: str) -> str:
        """Return the unit, empty when it derives from a label whose unit is not known."""
        if "{unit}" in self.unit and not label_unit:
            return ""
        return self.unit.replace("{unit}", label_unit)

    def beats(self, value: float, baseline: float) -> bool:
        """Return whether ``value`` is strictly better."""
        return value > baseline if self.higher_is_better else value < baseline


_REGRESSION = {
    "mae": Metric("regression", regression.mean_absolute_error, "MAE", False, "{unit}"),
    "rmse": Metric("regression", regression.root_mean_squared_error, "RMSE", False, "{unit}"),
    "mse": Metric("regression", regression.mean_squared_error, "MSE", False, "{unit}²"),
    "r2": Metric("regression", regression.r_squared, "R²"),
}
_CLASSIFICATION = {
    "accuracy": Metric("classification", classification.accuracy, "accuracy"),
    "balanced_accuracy": Metric("classification", classification.balanced_accuracy, "balanced accuracy"),
    "macro_f1": Metric("classification", classification.macro_f1, "macro F1"),
    "log_loss": Metric("classification", classification.log_loss, "log loss", False, "nats", baseline=FREQUENCIES),
    "calibration_error": Metric(
        "classification", calibration.calibration_error, "calibration error", False, baseline=FREQUENCIES
    ),
    "roc_auc": Metric("classification", classification.roc_auc, "ROC AUC", class_count=2, baseline=FREQUENCIES),
    "precision": Metric("classification", classification.precision, "precision", per_class=True),
    "recall": Metric("classification", classification.recall, "recall", per_class=True),
    "f1": Metric("classification", classification.f1, "F1", per_class=True),
}
_SEGMENTATION = {
    "mean_iou": Metric("segmentation", segmentation.mean_iou, "mean IoU"),
    "foreground_iou": Metric("segmentation", segmentation.foreground_iou, "foreground IoU"),
    "mean_dice": Metric("segmentation", segmentation.mean_dice, "mean Dice"),
    "pixel_accuracy": Metric("segmentation", segmentation.pixel_accuracy, "pixel accuracy", baseline="majority class"),
    "iou": Metric("segmentation", segmentation.iou, "IoU", per_class=True),
    "dice": Metric("segmentation", segmentation.dice, "Dice", per_class=True),
    "precision": Metric("segmentation", segmentation.precision, "precision", per_class=True),
    "recall": Metric("segmentation", segmentation.recall, "recall", per_class=True),
}
_DETECTION = {
    "map50_95": Metric("detection", detection.map50_95, "mAP@50:95"),
    "map50": Metric("detection", detection.map50, "mAP@50"),
    "map75": Metric("detection", detection.map75, "mAP@75"),
    "recall100": Metric("detection", detection.recall100, "recall@100"),
    "ap50_95": Metric("detection", detection.ap50_95, "AP@50:95", per_class=True),
    "ap50": Metric("detection", detection.ap50, "AP@50", per_class=True),
}
_MULTI_LABEL = {
    "macro_f1": Metric("multi_label", multi_label.macro_f1, "macro F1", baseline=EVERY_CLASS),
    "micro_f1": Metric("multi_label", multi_label.micro_f1, "micro F1", baseline=EVERY_CLASS),
    "exact_match": Metric("multi_label", multi_label.exact_match, "exact match"),
    "hamming_loss": Metric("multi_label", multi_label.hamming_loss, "Hamming loss", False),
    "ranking_average_precision": Metric(
        "multi_label", multi_label_scores.ranking_average_precision, "ranking average precision"
    ),
    "coverage_error": Metric("multi_label", multi_label_scores.coverage_error, "coverage error", False, "classes"),
    "precision": Metric("multi_label", multi_label.precision, "precision", per_class=True),
    "recall": Metric("multi_label", multi_label.recall, "recall", per_class=True),
    "f1": Metric("multi_label", multi_label.f1, "F1", per_class=True, baseline=EVERY_CLASS),
    "average_precision": Metric(
        "multi_label", multi_label_scores.average_precision, "average precision", per_class=True
    ),
}
BUILT_IN: Mapping[str, Mapping[str, Metric]] = {
    "regression": _REGRESSION,
    "classification": _CLASSIFICATION,
    "multi_label": _MULTI_LABEL,
    "segmentation": _SEGMENTATION,
    "detection": _DETECTION,
}
"""By kind of learning, then by name. A name that several kinds have means the same in each, the better way included."""


def get_metric(name: str, task: str = "") -> Metric:
    """Return a metric, importing the package that adds it only now.

    Args:
        name: Its name.
        task: The kind of learning; empty takes any that has the metric, for its label and which way is better.

    Raises:
        AssayError: No metric has this name, or none of this kind of learning.
    """
    tasks = [task] if task else [*BUILT_IN]
    for each in tasks:
        if name in BUILT_IN.get(each, {}):
            return BUILT_IN[each][name]
    if name in plugins(METRIC_PLUGINS):
        metric: Metric = load_plugin(METRIC_PLUGINS, name, Metric)
        if task in ("", metric.task):
            return metric
    if others := [each for each, metrics in BUILT_IN.items() if name in metrics]:
        raise AssayError(f"{name} is not a metric of {task}, but of {', '.join(others)}.")
    raise AssayError(unknown("Metric", name, [*_built_in_names(), *plugins(METRIC_PLUGINS)]))


def get_metrics(names: Iterable[str], task: str, class_count: int | None = None) -> dict[str, Metric]:
    """Return metrics by name, without those that are not defined for this number of classes.

    Raises:
        AssayError: A metric does not exist or belongs to another kind of learning.
    """
    metrics = {name: get_metric(name, task) for name in names}
    return {name: metric for name, metric in metrics.items() if metric.class_count in (None, class_count)}


def label_of(name: str) -> str:
    """Return how people write the name of a metric; its name where a package adds it, which is not imported."""
    return next((metrics[name].label for metrics in BUILT_IN.values() if name in metrics), name)


def _built_in_names() -> list[str]:
    return list(dict.fromkeys(name for metrics in BUILT_IN.values() for name in metrics))
