"""The check ``verified``: makes an experiment anew and compares, on request and never along with its assets."""

import dagster as dg
import pytest

from assay.experiments.last_run import VERIFIES_TAG
from assay.experiments.verification import StageVerdict
from assets.checks import TOLERANCE, VERIFIED, _verification
from definitions import build_defs

SAME = StageVerdict("splits", 3)


def differing(largest, count=2):
    names = tuple(f"table-{number}.parquet" for number in range(count))
    return StageVerdict("analysis", 9, f"{count} of 9 files differ: {names[0]}", largest, names)


def test_the_same_bytes_pass():
    found = _verification([SAME])
    assert found.passed
    assert found.metadata["splits"].value == "3 files, every byte the same"
    assert "files_that_differ" not in found.metadata


@pytest.mark.parametrize(
    ("largest", "severity"),
    [(TOLERANCE / 2, dg.AssetCheckSeverity.WARN), (0.5, "ERROR"), (None, dg.AssetCheckSeverity.ERROR)],
)
def test_what_another_processor_may_explain_is_a_warning_and_everything_else_an_error(largest, severity):
    found = _verification([SAME, differing(largest)])
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity(severity)
    assert found.metadata["files_that_differ"].value == {"analysis": ["table-0.parquet", "table-1.parquet"]}
    assert "2 of 9 files differ" in found.description


def test_of_very_many_files_some_are_named():
    assert len(_verification([differing(None, 1000)]).metadata["files_that_differ"].value["analysis"]) == 50


def test_no_job_runs_it_along_with_assets():
    definitions = build_defs()
    for job in definitions.resolve_all_job_defs():
        names = {node.partition(".")[0] for node in job.graph.node_names()}
        assert (VERIFIED.name in names) is (job.name == "job_verify" or job.name.startswith("__")), job.name
    assert definitions.resolve_job_def("job_verify").partitions_def.name == "experiments"


@pytest.mark.system
def test_it_is_run_on_request_only(two_runs):
    lab, *_ = two_runs
    by_hand = lab.materialize("one", ["analysis"])
    assert by_hand.success, lab.failure(by_hand)
    assert VERIFIED.name not in {each.check_name for each in by_hand.get_asset_check_evaluations()}
    asked = lab.run("one", "job_verify")
    assert asked.success, lab.failure(asked)
    assert lab.instance.get_run_by_id(asked.run_id).tags[VERIFIES_TAG] == "true"
    (found,) = asked.get_asset_check_evaluations()
    assert found.passed
    assert found.partition == "one"
    assert set(found.metadata) == {*lab.results("one")}
    assert all(value.value.endswith("every byte the same") for value in found.metadata.values())


@pytest.mark.system
def test_what_is_not_finished_can_not_be_verified_and_the_run_says_what_to_do(lab):
    lab.write("later")
    result = lab.run("later", "job_verify")
    assert not result.success
    assert "Next: assay run later" in lab.failure(result)
