"""Running an experiment's tests, and recording ``exp_tests.csv`` and the verdicts of blocking tests.

A verdict of a blocking test is stored with the fingerprint of the result that it is about, so that a later run of the
training obeys it too.

Belongs here: choosing, running and recording tests. Does not belong here: the tests (``assay.checks``).
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from assay.checks.registry import CHECKS, check_of, run_test, write_exp_tests_csv
from assay.checks.result import TestResult
from assay.errors import DataError, FileError, StorageError
from assay.experiments.contents import files_to_check, stage_results
from assay.experiments.folders import ExperimentFolders
from assay.spec.exptests import TestSection
from assay.spec.ids import validate_id
from assay.storage.files import update_json
from assay.storage.locks.acquire import hold
from assay.storage.records import Verdict, read_stored
from assay.utils.reading import read_text

EXP_TESTS = "exp_tests.csv"


def run_tests(
    root: Path, experiment_id: str, kinds: Collection[str], tests: Sequence[TestSection]
) -> tuple[dict[str, list[TestResult]], list[Exception]]:
    """Run the tests of some kinds, record them, and return their results by kind, and why others could not be run.

    Args:
        root: Storage root.
        experiment_id: The experiment whose results are tested.
        kinds: Built-in kinds, or ``further_tests``.
        tests: All tests in the experiment's spec.
    """
    files, made = files_to_check(root, experiment_id), stage_results(root, experiment_id)
    results: dict[str, list[TestResult]] = {}
    errors: list[Exception] = []
    for kind in kinds:
        try:
            results[kind] = [run_test(test, files) for test in tests if check_of(test.kind) == kind]
        except Exception as error:  # whatever it is, those of the other kinds are run and recorded
            errors.append(error)
    for kind, found in results.items():
        if (stage := CHECKS[kind].asset) in made:
            failures = [result.description for result in found if result.blocking and not result.passed]
            store_verdict(root, experiment_id, kind, stage, made[stage].fingerprint, failures)
    _record(root, experiment_id, results)
    return results, errors


def _record(root: Path, experiment_id: str, results: Mapping[str, list[TestResult]]) -> None:
    """Replace the rows of some kinds in ``exp_tests.csv``, under a lock: checks of other kinds may write theirs."""
    folder = ExperimentFolders(root).find(experiment_id)
    if folder is None:
        return
    path = folder.path / EXP_TESTS
    new = [result for found in results.values() for result in found]
    with hold(root / "locks", f"experiments/{experiment_id}", "write", "recording its tests"):
        others = [row for row in _read(path) if check_of(row.kind) not in results]
        write_exp_tests_csv(sorted([*others, *new], key=lambda row: (row.kind, row.name)), path)


def recorded_tests(root: Path, experiment_id: str) -> list[TestResult]:
    """Return the results of an experiment's tests as they were last recorded."""
    folder = ExperimentFolders(root).find(experiment_id)
    return _read(folder.path / EXP_TESTS) if folder else []


def _read(path: Path) -> list[TestResult]:
    try:
        rows = csv.DictReader(io.StringIO(read_text(path), newline=""))
        return [_from_row(row) for row in rows]
    except FileNotFoundError:
        return []
    except FileError as error:
        raise StorageError(str(error)) from error
    except (csv.Error, KeyError) as error:
        reason = f"it has no column {error}" if isinstance(error, KeyError) else error
        raise StorageError(f"{path} is no list of tests ({reason}). Delete it: the next run writes it anew.") from error


def _from_row(row: dict[str, str]) -> TestResult:
    return TestResult(
        name=row["name"],
        kind=row["kind"],
        passed=row["passed"] == "True",
        severity="warn" if row["severity"] == "warn" else "error",
        blocking=row["blocking"] == "True",
        description=row["description"],
        measured=row["measured"],
        expected=row["expected"],
    )


def failed_tests(root: Path, experiment_id: str, tests: Sequence[TestSection]) -> list[str]:
    """Run tests on an experiment's results, record nothing, and return what each found that failed as an error.

    Args:
        root: Storage root.
        experiment_id: The experiment.
        tests: All tests in its spec.
    """
    files = files_to_check(root, experiment_id)
    results = [run_test(test, files) for test in tests]
    return [each.description for each in results if not each.passed and each.severity == "error"]


def store_verdict(
    root: Path, experiment_id: str, kind: str, stage: str, fingerprint: str, failures: Sequence[str]
) -> None:
    """Store the verdict of the blocking tests of one kind on one result of a stage.

    Args:
        root: Storage root.
        experiment_id: The experiment.
        kind: Kind of the tests.
        stage: The tested stage.
        fingerprint: Fingerprint of the tested result.
        failures: Descriptions of the failed tests; empty if all passed.
    """
    path = root / "gates" / validate_id(experiment_id) / stage / f"{kind}.json"
    update_json(path, {"fingerprint": fingerprint, "failures": list(failures)})


def require_passed(root: Path, experiment_id: str, ancestors: Mapping[str, str]) -> None:
    """Raise if a blocking test failed on one of exactly these results.

    Args:
        root: Storage root.
        experiment_id: The experiment whose verdicts count.
        ancestors: Fingerprint by stage of all results that the caller's inputs were made from.

    Raises:
        DataError: Tests failed; the message lists each failure and the next step.
        StorageError: A verdict is damaged, so that nobody knows.
    """
    for stage, fingerprint in ancestors.items():
        failures = _failures(root / "gates" / validate_id(experiment_id) / stage, fingerprint)
        if failures:
            message = (
                f"Experiment {experiment_id!r}: {stage} failed a blocking test, so it is not trained. Change the "
                f"data or the {stage} section and materialize {stage} again, or remove the test from exptests."
            )
            raise DataError(message, failures)


def _failures(folder: Path, fingerprint: str) -> list[str]:
    verdicts = [read_stored(path, Verdict) for path in sorted(folder.glob("*.json"))]
    return [line for verdict in verdicts if verdict["fingerprint"] == fingerprint for line in verdict["failures"]]
