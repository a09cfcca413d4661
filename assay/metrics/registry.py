"""All metrics by name: what each is computed by, which way is better, and its unit.

Belongs here: the list. Does not belong here: arithmetic. An installed package adds a metric by an entry point in the
group ``assay.metrics`` whose name is the metric's and whose object is a ``Metric``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from assay.errors import AssayError, unknown
from assay.metrics import calibration, classification, regression
from assay.metrics.samples import Floats
from assay.plugins import load_plugin, plugins
from assay.spec.analysis import METRIC_PLUGINS


@dataclass(frozen=True)
class Metric:
    """One way to score predictions.

    Attributes:
        task: ``regression`` or ``classification``.
        compute: From a sample with b weightings to values (b,), or (b, k) when ``per_class``.
        label: How people write its name.
        higher_is_better: Which way is better.
        unit: Unit of the value; ``{unit}`` stands for the label's.
        per_class: Whether there is one value for each class.
        class_count: The only number of classes it is defined for, if any.
        probabilistic: Whether it scores probabilities rather than the predicted class.
    """

    task: str
    compute: Callable[[Any], Floats]
    label: str
    higher_is_better: bool = True
    unit: str = ""
    per_class: bool = False
    class_count: int | None = None
    probabilistic: bool = False

    @property
    def baseline_name(self) -> str:
        """What the trivial prediction beside it knows of the training targets."""
        if self.task == "regression":
            return "train mean"
        return "train frequencies" if self.probabilistic else "majority class"

    def unit_for(self, label_unit: str) -> str:
        """Return the unit, empty when it derives from a label whose unit is not known."""
        if "{unit}" in self.unit and not label_unit:
            return ""
        return self.unit.replace("{unit}", label_unit)

    def beats(self, value: float, baseline: float) -> bool:
        """Return whether ``value`` is strictly better."""
        return value > baseline if self.higher_is_better else value < baseline


BUILT_IN: dict[str, Metric] = {
    "mae": Metric("regression", regression.mean_absolute_error, "MAE", False, "{unit}"),
    "rmse": Metric("regression", regression.root_mean_squared_error, "RMSE", False, "{unit}"),
    "mse": Metric("regression", regression.mean_squared_error, "MSE", False, "{unit}²"),
    "r2": Metric("regression", regression.r_squared, "R²"),
    "accuracy": Metric("classification", classification.accuracy, "accuracy"),
    "balanced_accuracy": Metric("classification", classification.balanced_accuracy, "balanced accuracy"),
    "macro_f1": Metric("classification", classification.macro_f1, "macro F1"),
    "log_loss": Metric("classification", classification.log_loss, "log loss", False, "nats", probabilistic=True),
    "calibration_error": Metric(
        "classification", calibration.calibration_error, "calibration error", False, probabilistic=True
    ),
    "roc_auc": Metric("classification", classification.roc_auc, "ROC AUC", class_count=2, probabilistic=True),
    "precision": Metric("classification", classification.precision, "precision", per_class=True),
    "recall": Metric("classification", classification.recall, "recall", per_class=True),
    "f1": Metric("classification", classification.f1, "F1", per_class=True),
}


def get_metric(name: str) -> Metric:
    """Return a metric, importing the package that adds it only now.

    Raises:
        AssayError: No metric has this name.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name in plugins(METRIC_PLUGINS):
        metric: Metric = load_plugin(METRIC_PLUGINS, name, Metric)
        return metric
    raise AssayError(unknown("Metric", name, [*BUILT_IN, *plugins(METRIC_PLUGINS)]))


def get_metrics(names: Iterable[str], task: str, class_count: int | None = None) -> dict[str, Metric]:
    """Return metrics by name, without those that are not defined for this number of classes.

    Raises:
        AssayError: A metric does not exist or belongs to another task.
    """
    metrics = {name: get_metric(name) for name in names}
    wrong = sorted(name for name, metric in metrics.items() if metric.task != task)
    if wrong:
        raise AssayError(f"Metrics {', '.join(wrong)} are not metrics of task {task}.")
    return {name: metric for name, metric in metrics.items() if metric.class_count in (None, class_count)}
