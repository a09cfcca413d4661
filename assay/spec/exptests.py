"""Section ``exptests``: tests of an experiment's results, and the keys of each kind of test."""

import fnmatch
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from assay.spec.analysis import TASK_METRICS, MetricName, added_metrics
from assay.spec.base import MOST_STEPS, Probability, RemovedKeys, Section
from assay.spec.extensions import OrPlugin
from assay.spec.plugins import TESTS


class TestSection(Section):
    """The keys that all tests share. Subclasses add ``kind`` and their own keys."""

    __test__ = False  # its name makes pytest take it for a test class

    kind: str
    """Kind of the test."""
    name: str = Field(default="", max_length=100)
    """Name in reports; empty: made from the other keys."""
    blocking: bool = False
    """Whether a failure blocks the assets downstream of the tested one."""
    severity: Literal["error", "warn"] = "error"
    """Severity of a failure; ``warn`` never blocks anything."""


class ModelsSavedTest(TestSection):
    """The model's files can be opened, and every number in them is finite."""

    kind: Literal["models_saved"] = "models_saved"
    """models_saved."""
    min_models: int = Field(default=1, ge=1, le=MOST_STEPS)
    """Least number of model files."""


class NoMissingValuesTest(TestSection):
    """No value is null or NaN, in any table and any Parquet file of the experiment."""

    kind: Literal["no_missing_values"] = "no_missing_values"
    """no_missing_values."""
    ignore: tuple[str, ...] = (
        "analysis.value",
        "analysis.baseline",
        "analysis.simple_value",
        "analysis.ci_*",
        "items.*",
        "objects.*",
        "crops.label",
        "crops.number",
        "predictions.target*",
        "curves.*",
        "detections.*_class",
        "detections.confidence",
        "detections.iou",
        "mask_classes.label",
        "predicted_items.mask",
        "predicted_items.labelled",
        "tabular.*",
        "taught.target",
    )
    """Columns that may have missing values, as ``table.column`` or patterns with ``*``. The user's own rows may: what
    fills them is seen in the table ``normalized``."""

    def ignores(self, table: str, column: str) -> bool:
        """Return whether a column may hold missing values."""
        return any(fnmatch.fnmatchcase(f"{table}.{column}", pattern) for pattern in self.ignore)


def _inside_folder(name: str) -> str:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"{name!r} must be a path inside the experiment's folder, with '/' and without '..'")
    return name


InnerPath = Annotated[str, AfterValidator(_inside_folder)]
"""Path or pattern (``*``, ``**``) below the experiment's folder."""


class FilesExistTest(TestSection):
    """Files and folders exist and are not empty, as do all files in the experiment's manifest."""

    kind: Literal["files_exist"] = "files_exist"
    """files_exist."""
    files: tuple[InnerPath, ...] = ("experiment_info.yaml",)
    """Files below the experiment's folder, or patterns that must match at least one."""
    folders: tuple[InnerPath, ...] = ("configs",)
    """Folders that must contain at least one file, at any depth."""


class SplitLeakageTest(TestSection):
    """No item, copy of an item or group is in two subsets."""

    kind: Literal["split_leakage"] = "split_leakage"
    """split_leakage."""
    near_duplicates: Literal["warn", "error", "ignore"] = "warn"
    """Verdict on a pair of nearly equal images, which can occur in valid data; equal ones are always an error."""
    blocking: bool = True
    """Whether a failure blocks the assets downstream of the tested one."""


Operator = Literal["=", "==", ">=", ">", "<=", "<"]


class MetricTest(TestSection):
    """A metric of one subset is compared with a number."""

    kind: Literal["metric"] = "metric"
    """metric."""
    subset: str = Field(default="test", min_length=1)
    """Name of the subset."""
    metric: MetricName
    """Name of the metric."""
    class_name: str = ""
    """The class, for metrics that have one value per class; empty for the others."""
    operator: Operator = ">="
    """Comparison of the metric with ``value``; ``=`` and ``==`` are equivalent."""
    value: float
    """The number, in the metric's unit."""
    tolerance: float = Field(default=1e-9, ge=0)
    """Largest difference from ``value`` that ``=`` accepts, in the metric's unit."""

    def added_names(self) -> Iterator[tuple[str, str]]:
        """Yield group and name of the metric, if an installed package adds it."""
        return added_metrics([self.metric])


class BeatsBaselineTest(TestSection):
    """A metric is better than that of the baseline, a prediction made from the training data without the network."""

    kind: Literal["beats_baseline"] = "beats_baseline"
    """beats_baseline."""
    subset: str = Field(default="test", min_length=1)
    """Name of the subset."""
    metric: MetricName | None = None
    """Name of the metric; null: the task's main metric, such as mae or accuracy."""
    confident: bool = False
    """Require that the metric's whole confidence interval is better than the baseline."""
    baseline: Literal["trivial", "simple"] = "trivial"
    """trivial: from the training targets only; simple: the best of a linear model and gradient boosting
    (analysis.result_analyzer.simple_models)."""

    def added_names(self) -> Iterator[tuple[str, str]]:
        """Yield group and name of the metric, if an installed package adds it."""
        return added_metrics([self.metric])


class SuspiciousLabelsTest(TestSection):
    """Few labels of a classification look wrong to the model; not one of the default tests."""

    kind: Literal["suspicious_labels"] = "suspicious_labels"
    """suspicious_labels."""
    subset: str = Field(default="test", min_length=1)
    """Name of the subset."""
    most: Probability = 0.02
    """Largest share of the subset's items whose label may look wrong, 0 to 1."""
    severity: Literal["error", "warn"] = "warn"
    """Severity of a failure; ``warn`` never blocks anything."""


BUILT_IN_TESTS: dict[str, type[TestSection]] = {
    "models_saved": ModelsSavedTest,
    "no_missing_values": NoMissingValuesTest,
    "files_exist": FilesExistTest,
    "split_leakage": SplitLeakageTest,
    "metric": MetricTest,
    "beats_baseline": BeatsBaselineTest,
    "suspicious_labels": SuspiciousLabelsTest,
}


class TestKind:
    """A kind of test registered by an installed package: a section with its own ``kind``, and the function to run it.

    Attributes:
        section: Model of the test's keys.
        run: Function, or its import path ``package.module:function``, which is imported only when the test runs. Called
            as ``run(test, files)`` with ``assay.checks.result.ExperimentFiles``; returns a ``TestResult``.
    """

    __test__ = False

    def __init__(self, section: type[TestSection], run: str | Callable[..., Any]) -> None:
        self.section = section
        self.run = run


BuiltInTest = Annotated[
    ModelsSavedTest
    | NoMissingValuesTest
    | FilesExistTest
    | SplitLeakageTest
    | MetricTest
    | BeatsBaselineTest
    | SuspiciousLabelsTest,
    Field(discriminator="kind"),
]

AnyTest = Annotated[BuiltInTest, OrPlugin(TESTS, TestKind, TestSection, tuple(BUILT_IN_TESTS))]


class ExptestsSection(Section):
    """Tests that run as asset checks of the experiment, with results in ``exp_tests.csv``."""

    tests: tuple[AnyTest, ...] | None = None
    """The tests; null: the default tests, which every experiment should pass."""
    remove_key_list: RemovedKeys = None
    """Keys to remove, at any depth, from this section's saved configuration; null: those of the experiment's
    ``remove_key_list``."""

    def tests_for(self, task: str, subset: str = "test") -> tuple[TestSection, ...]:
        """Return the tests to run, with unique names.

        Args:
            task: The experiment's kind of learning.
            subset: The subset of the default test of a metric.
        """
        tests = default_tests(task, subset) if self.tests is None else self.tests
        names: dict[str, int] = {}
        named = []
        for test in tests:
            name = test.name or _default_name(test, task)
            names[name] = names.get(name, 0) + 1
            unique = name if names[name] == 1 else f"{name} {names[name]}"
            update: dict[str, Any] = {"name": unique}
            if isinstance(test, BeatsBaselineTest) and test.metric is None:
                update["metric"] = TASK_METRICS[task][0]
            named.append(test.model_copy(update=update))
        return tuple(named)


def default_tests(task: str, subset: str = "test") -> tuple[TestSection, ...]:
    """Return the default tests of a task."""
    return (
        SplitLeakageTest(),
        NoMissingValuesTest(),
        ModelsSavedTest(),
        BeatsBaselineTest(subset=subset, metric=TASK_METRICS[task][0]),
        FilesExistTest(),
    )


def _default_name(test: TestSection, task: str) -> str:
    if isinstance(test, MetricTest):
        of_class = f" of {test.class_name}" if test.class_name else ""
        return f"{test.metric}{of_class} {test.operator} {test.value:g} on {test.subset}"
    if isinstance(test, SuspiciousLabelsTest):
        return f"at most {test.most:.0%} suspicious labels on {test.subset}"
    if isinstance(test, BeatsBaselineTest):
        return f"{test.metric or TASK_METRICS[task][0]} beats baseline on {test.subset}"
    return test.kind.replace("_", " ")
