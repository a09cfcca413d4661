"""From Dagster's answer to counts: retries, runs of the same experiment, and experiments that never got a run."""

from assay.backfills.backfill import backfill_from


def answer(status="REQUESTED", runs=(), names=("a", "b", "c"), **more):
    plain = {
        "id": "abcdefgh",
        "status": status,
        "timestamp": 1_700_000_000.0,
        "endTimestamp": None,
        "title": "job_experiment: true",
        "description": None,
        "jobName": None,
        "partitionNames": None if names is None else list(names),
        "assetSelection": [{"path": ["experiment"]}, {"path": ["spec_splits"]}],
        "tags": [],
        "error": None,
        "assetBackfillData": {"rootTargetedPartitions": {"partitionKeys": ["a", "b"]}},
    }
    return plain | {"runs": [run(*each) for each in runs]} | more


def run(name, status, at=1.0, **tags):
    given = {"dagster/partition": name, **{f"dagster/{key}": value for key, value in tags.items()}}
    pairs = [{"key": key, "value": value} for key, value in given.items()]
    return {"runId": f"{name}-{at:g}", "status": status, "creationTime": at, "tags": pairs}


def states(given):
    return {each.experiment_id: each.state for each in backfill_from(given).experiments}


def test_an_experiment_without_a_run_is_queued_and_cancelled_once_the_backfill_is_over():
    assert states(answer(runs=[("a", "SUCCESS")])) == {"a": "done", "b": "queued", "c": "queued"}
    assert states(answer("CANCELED", [("a", "SUCCESS")])) == {"a": "done", "b": "cancelled", "c": "cancelled"}


def test_the_newest_run_of_an_experiment_counts():
    given = answer(runs=[("a", "STARTED", 2.0), ("a", "FAILURE", 1.0), ("b", "FAILURE", 2.0), ("b", "SUCCESS", 1.0)])
    assert states(given) == {"a": "running", "b": "failed", "c": "queued"}


def test_a_failed_run_that_dagster_will_retry_counts_as_queued():
    retried = [run("a", "FAILURE", will_retry="true")]
    assert states(answer(names=("a",)) | {"runs": retried}) == {"a": "queued"}
    assert states(answer("COMPLETED_FAILED", names=("a",)) | {"runs": retried}) == {"a": "failed"}


def test_counts_and_status_names():
    backfill = backfill_from(answer("COMPLETED_FAILED", [("a", "SUCCESS"), ("b", "FAILURE"), ("c", "CANCELED")]))
    assert backfill.counts == {"done": 1, "failed": 1, "running": 0, "queued": 0, "cancelled": 1}
    assert (backfill.status_name, backfill.is_finished) == ("failed", True)
    assert backfill.ids("failed", "cancelled") == ["b", "c"]
    assert backfill.assets == (("experiment",), ("spec_splits",))


def test_a_backfill_with_other_partitions_per_asset_shows_those_of_its_roots():
    assert set(states(answer(names=None))) == {"a", "b"}


def test_the_backfill_of_a_job_has_no_assets():
    backfill = backfill_from(answer(jobName="job_train", assetSelection=None, assetBackfillData=None, title=None))
    assert (backfill.job, backfill.assets, backfill.title) == ("job_train", (), "job_train")
