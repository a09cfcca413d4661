import csv
import sys

import pytest
from pydantic import ValidationError

from assay.checks import ExperimentFiles, TestResult, run_test, write_exp_tests_csv
from assay.checks.registry import CHECKS, FURTHER_TESTS, check_of
from assay.pipeline import STAGES
from assay.spec.exptests import BUILT_IN_TESTS, ExptestsSection

PLUGIN = """
from typing import Literal
from assay.checks.result import verdict
from assay.spec.exptests import TestKind, TestSection

class SizeTest(TestSection):
    kind: Literal["size"] = "size"
    limit: int

def run(test, files):
    return verdict(test, test.limit > 3, "looked", measured="3", expected=f"< {test.limit}")

KIND = TestKind(SizeTest, run)
"""


@pytest.fixture
def size_plugin(install_package):
    install_package("assay.tests", "size", "sized:KIND", sized=PLUGIN)


def test_every_kind_of_the_spec_has_a_check_on_an_asset():
    assert set(CHECKS) - {FURTHER_TESTS} == set(BUILT_IN_TESTS)
    assert {check.asset for check in CHECKS.values()} <= set(STAGES)
    assert (check_of("metric"), check_of("of_a_package")) == ("metric", FURTHER_TESTS)


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_default_tests_exist_for_each_task_and_have_unique_names(task):
    tests = ExptestsSection().tests_for(task)
    assert {test.kind for test in tests} == set(BUILT_IN_TESTS) - {"metric", "suspicious_labels"}
    assert len({test.name for test in tests}) == len(tests)


def test_without_any_result_every_default_test_fails_and_says_what_to_do():
    for test in ExptestsSection().tests_for("regression"):
        result = run_test(test, ExperimentFiles())
        assert not result.passed
        assert "Materialize" in result.description


def test_two_tests_without_a_name_get_different_ones():
    keys = {"kind": "metric", "metric": "mae", "operator": "<", "value": 1}
    names = [test.name for test in ExptestsSection(tests=[keys, keys]).tests_for("regression")]
    assert names == ["mae < 1 on test", "mae < 1 on test 2"]


def test_an_installed_package_adds_a_kind_with_its_own_keys(size_plugin):
    assert "sized" not in sys.modules
    section = ExptestsSection(tests=[{"kind": "size", "limit": 5}])
    assert ExptestsSection.model_validate(section.model_dump(mode="json")) == section
    (test,) = section.tests_for("regression")
    assert run_test(test, ExperimentFiles()).expected == "< 5"


def test_a_wrong_key_of_an_added_kind_is_an_error_at_that_key(size_plugin):
    with pytest.raises(ValidationError) as caught:
        ExptestsSection(tests=[{"kind": "size", "limits": 5}])
    assert {error["loc"][:2] + error["loc"][-1:] for error in caught.value.errors()} == {
        ("tests", 0, "limit"),
        ("tests", 0, "limits"),
    }


def test_an_unknown_kind_is_an_error():
    with pytest.raises(ValidationError, match="metrc"):
        ExptestsSection(tests=[{"kind": "metrc"}])


def test_the_csv_has_one_row_per_result_and_replaces_the_previous_one(tmp_path):
    path = tmp_path / "exp_tests.csv"
    results = [
        TestResult("a, b", "metric", False, "error", True, 'said "no"\nindeed', "0.1", ">= 0.9"),
        TestResult("c", "models_saved", True, "error", False, "fine", "1", "1"),
    ]
    write_exp_tests_csv(results[:1], path)
    write_exp_tests_csv(results, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["passed"], row["severity"]) for row in rows] == [
        ("a, b", "False", "error"),
        ("c", "True", "error"),
    ]
    assert rows[0]["description"] == 'said "no"\nindeed'
    assert [entry.name for entry in tmp_path.iterdir()] == ["exp_tests.csv"]
