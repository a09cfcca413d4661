"""One reason per failed run: the innermost, without the names of classes."""

from assay.backfills.backfill import reason_in


def step(message, *causes, description=None):
    return {
        "__typename": "ExecutionStepFailureEvent",
        "error": {"message": message, "causes": [{"message": cause} for cause in causes]},
        "failureMetadata": {"description": description} if description else None,
    }


def check(success, severity, description="2 files are in train and test"):
    evaluation = {"checkName": "split_leakage", "success": success, "severity": severity, "description": description}
    return {"__typename": "AssetCheckEvaluationEvent", "evaluation": evaluation}


RUN = {"__typename": "RunFailureEvent", "message": 'Execution of run for "x" failed.'}


def test_the_innermost_cause_is_reported_without_its_class():
    assert reason_in([step("outer", "middle", "assay.errors.DataError: no rows\n"), RUN]) == "no rows"


def test_the_description_of_a_failure_is_reported():
    assert reason_in([step("dagster.Failure: x", description="Experiment a, splits: too few rows")]) == (
        "Experiment a, splits: too few rows"
    )


def test_a_blocking_check_is_the_reason_and_a_warning_is_not():
    stopped = step("1 blocking asset check failed with ERROR severity")
    assert reason_in([check(False, "ERROR"), stopped]) == "check split_leakage: 2 files are in train and test"
    assert reason_in([check(False, "WARN"), check(True, "ERROR"), step("no rows")]) == "no rows"


def test_a_run_without_a_failed_step_gives_its_own_reason_or_says_that_there_is_none():
    assert reason_in([RUN]) == RUN["message"]
    assert "see the run in the UI" in reason_in([])


def test_equal_reasons_are_reported_once():
    assert reason_in([step("a"), step("b"), step("a")]) == "a; b"
