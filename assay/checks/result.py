"""What an experiment test reads, and what it returns: the value objects that all tests share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from assay.spec.exptests import TestSection


@dataclass(frozen=True)
class ExperimentFiles:
    """Where an experiment's results are; None for those that are not materialized.

    Attributes:
        experiment_folder: The experiment's own folder.
        splits_folder: Result folder of ``splits`` with ``items.parquet``.
        model_folder: Result folder of ``trained_model``.
        analysis: The file ``analysis.parquet``.
        tables: Parquet file of each table, by name.
    """

    experiment_folder: Path | None = None
    splits_folder: Path | None = None
    model_folder: Path | None = None
    analysis: Path | None = None
    tables: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class TestResult:
    """The verdict of one test.

    Attributes:
        name: Name of the test, unique in the experiment.
        kind: Kind of the test, such as ``metric``.
        passed: Whether it passed.
        severity: How a failure counts.
        blocking: Whether a failure stops the assets downstream.
        description: What was found, with evidence; the next step if it failed.
        measured: What was measured, in a few words.
        expected: What was expected, in a few words.
    """

    __test__ = False  # its name makes pytest take it for a test class

    name: str
    kind: str
    passed: bool
    severity: Literal["error", "warn"]
    blocking: bool
    description: str
    measured: str
    expected: str


def verdict(test: TestSection, passed: bool, description: str, *, measured: str, expected: str) -> TestResult:
    """Return the result of a test, with the severity that the test asks for; ``warn`` never blocks."""
    return TestResult(
        name=test.name or test.kind,
        kind=test.kind,
        passed=passed,
        severity=test.severity,
        blocking=test.blocking and test.severity == "error",
        description=description,
        measured=measured,
        expected=expected,
    )


def not_materialized(test: TestSection, asset: str, expected: str) -> TestResult:
    """Return a failure that says which asset to materialize first: without its input, a test has not passed."""
    description = f"There is no {asset} yet. Materialize {asset} first, then run this test again."
    return verdict(test, False, description, measured=f"no {asset}", expected=expected)


def shortened(lines: list[str], limit: int = 10) -> str:
    """Return the lines as one text: at most ``limit`` of them, and how many more there are."""
    more = [f"… and {len(lines) - limit} more"] if len(lines) > limit else []
    return "; ".join(lines[:limit] + more)
