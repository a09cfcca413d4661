"""Section ``exptests``: what must hold for an experiment to count."""

from typing import Annotated, Any

from pydantic import Field, SerializeAsAny

from assay.spec.analysis import TASK_METRICS
from assay.spec.base import Section
from assay.spec.exptest_kinds import (
    BUILT_IN_TESTS,
    BeatsBaselineTest,
    FilesExistTest,
    MetricTest,
    ModelsSavedTest,
    NoMissingValuesTest,
    SplitLeakageTest,
    TestSection,
)
from assay.spec.kinds import or_plugin

__all__ = ["TEST_PLUGINS", "AnyTest", "ExptestsSection", "TestKind", "TestSection", "default_tests"]

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
