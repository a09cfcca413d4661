"""Section ``exptests``: what must hold for an experiment to count."""

import fnmatch
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializeAsAny

from assay.spec.analysis import TASK_METRICS, MetricName
from assay.spec.base import Section, or_plugin


class TestSection(Section):
    """What all tests share. Subclasses add ``kind`` and their own keys."""

    __test__ = False  # its name makes pytest take it for a test class

    kind: str
    """Which test."""
    name: str = Field(default="", max_length=100)
    """Name in reports; empty takes one made from the other keys."""
    blocking: bool = False
    """Whether a failure stops the assets that come after the tested one."""
    severity: Literal["error", "warn"] = "error"
    """How a failure is reported; ``warn`` never stops anything."""


class ModelsSavedTest(TestSection):
    """The model's files can be opened, and every number in them is finite."""

    kind: Literal["models_saved"] = "models_saved"
    """models_saved."""
    min_models: int = Field(default=1, ge=1)
    """How many model files there must be at least."""


class NoMissingValuesTest(TestSection):
    """No value is null or NaN, in any table and any Parquet file of the experiment."""

    kind: Literal["no_missing_values"] = "no_missing_values"
    """no_missing_values."""
    ignore: tuple[str, ...] = (
        "analysis.value",
        "analysis.baseline",
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
        "taught.target",
    )
    """Columns where nothing is a value too, as ``table.column``, with ``*``; default: those that may be undefined."""

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
    """Files and folders are there and not empty, as are all files that the experiment's manifest lists."""

    kind: Literal["files_exist"] = "files_exist"
    """files_exist."""
    files: tuple[InnerPath, ...] = ("experiment_info.yaml",)
    """Files, or patterns that must match at least one, below the experiment's folder."""
    folders: tuple[InnerPath, ...] = ("configs",)
    """Folders; each must hold at least one file, at any depth."""


class SplitLeakageTest(TestSection):
    """No item, no copy of one and no group is in two subsets."""

    kind: Literal["split_leakage"] = "split_leakage"
    """split_leakage."""
    near_duplicates: Literal["warn", "error", "ignore"] = "warn"
    """What a pair of almost equal images is: they occur in honest data too, equal ones are always an error."""
    blocking: bool = True
    """Whether a failure stops the assets that come after the tested one."""


Operator = Literal["=", "==", ">=", ">", "<=", "<"]


class MetricTest(TestSection):
    """A metric of one subset compares with a number."""

    kind: Literal["metric"] = "metric"
    """metric."""
    subset: str = Field(default="test", min_length=1)
    """Name of the subset."""
    metric: MetricName
    """Name of the metric."""
    class_name: str = ""
    """The class, for metrics that have one value per class; empty for the others."""
    operator: Operator = ">="
    """How the metric must compare with ``value``; ``=`` and ``==`` mean the same."""
    value: float
    """The number, in the metric's unit."""
    tolerance: float = Field(default=1e-9, ge=0)
    """For ``=`` only: how far the metric may be from ``value``, in the metric's unit."""


class BeatsBaselineTest(TestSection):
    """A metric is better than that of the trivial prediction made from the training targets alone."""

    kind: Literal["beats_baseline"] = "beats_baseline"
    """beats_baseline."""
    subset: str = Field(default="test", min_length=1)
    """Name of the subset."""
    metric: MetricName | None = None
    """Name of the metric; null takes the task's first (mae, accuracy)."""
    confident: bool = False
    """Also require that the metric's whole interval is better than the baseline."""


BUILT_IN_TESTS: dict[str, type[TestSection]] = {
    "models_saved": ModelsSavedTest,
    "no_missing_values": NoMissingValuesTest,
    "files_exist": FilesExistTest,
    "split_leakage": SplitLeakageTest,
    "metric": MetricTest,
    "beats_baseline": BeatsBaselineTest,
}

TEST_PLUGINS = "assay.tests"
"""Entry point group whose names are further kinds; each object is a ``TestKind``."""


class TestKind:
    """What an installed package registers: a section with its own ``kind``, and the function that runs it.

    Attributes:
        section: The keys of the test.
        run: Called as ``run(test, files)`` with ``assay.checks.result.ExperimentFiles``; returns a ``TestResult``.
    """

    __test__ = False

    def __init__(self, section: type[TestSection], run: Any) -> None:
        self.section = section
        self.run = run


BuiltInTest = Annotated[
    ModelsSavedTest | NoMissingValuesTest | FilesExistTest | SplitLeakageTest | MetricTest | BeatsBaselineTest,
    Field(discriminator="kind"),
]

AnyTest = Annotated[SerializeAsAny[BuiltInTest], or_plugin(TEST_PLUGINS, BUILT_IN_TESTS, TestKind)]


class ExptestsSection(Section):
    """Tests that run as checks of the experiment's assets, and end in ``exp_tests.csv``."""

    tests: tuple[AnyTest, ...] | None = None
    """The tests; null takes those that every experiment should pass."""

    def tests_for(self, task: str, subset: str = "test") -> tuple[TestSection, ...]:
        """Return the tests to run, with all names filled in and unique.

        Args:
            task: The experiment's task.
            subset: The subset that default tests of metrics look at.
        """
        tests = default_tests(task, subset) if self.tests is None else self.tests
        names: dict[str, int] = {}
        named = []
        for test in tests:
            name = test.name or _made_up_name(test, task)
            names[name] = names.get(name, 0) + 1
            unique = name if names[name] == 1 else f"{name} {names[name]}"
            update: dict[str, Any] = {"name": unique}
            if isinstance(test, BeatsBaselineTest) and test.metric is None:
                update["metric"] = TASK_METRICS[task][0]
            named.append(test.model_copy(update=update))
        return tuple(named)


def default_tests(task: str, subset: str = "test") -> tuple[TestSection, ...]:
    """Return the tests that every experiment of a task should pass."""
    return (
        SplitLeakageTest(),
        NoMissingValuesTest(),
        ModelsSavedTest(),
        BeatsBaselineTest(subset=subset, metric=TASK_METRICS[task][0]),
        FilesExistTest(),
    )


def _made_up_name(test: TestSection, task: str) -> str:
    if isinstance(test, MetricTest):
        of_class = f" of {test.class_name}" if test.class_name else ""
        return f"{test.metric}{of_class} {test.operator} {test.value:g} on {test.subset}"
    if isinstance(test, BeatsBaselineTest):
        return f"{test.metric or TASK_METRICS[task][0]} beats baseline on {test.subset}"
    return test.kind.replace("_", " ")
