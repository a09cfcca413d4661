"""The progress of a stage reaches Dagster at once, not at the end of the run."""

import json
import os
import signal

import dagster as dg
import pytest

from assay.storage.results import REPORT, Result
from resources.experiment_store import counts
from resources.progress import ProgressReporter, interrupts_kept, raise_if_interrupted


def run(told, instance, reporter):
    """Materialize an asset that tells something and then looks at what Dagster knows by then."""
    seen = []

    @dg.asset(name="trained_model", partitions_def=dg.StaticPartitionsDefinition(["ab12"]))
    def asset(context: dg.AssetExecutionContext) -> None:
        report = reporter.start(context, "trained_model")
        for arguments in told:
            report(*arguments)
            seen.append(instance.fetch_observations(dg.AssetKey("trained_model"), limit=10).records)

    assert dg.materialize([asset], instance=instance, partition_key="ab12").success
    return seen


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_numbers_become_observations_of_the_asset_while_it_is_materialized(instance):
    told = [(1, 9, "loss 0.5", {"loss": 0.5, "epoch": 1}), (2, 9, "loss 0.4", {"loss": 0.4, "epoch": 2})]
    first, second = run(told, instance, ProgressReporter(seconds_between_observations=0))
    assert [len(first), len(second)] == [1, 2]
    newest = second[0].asset_observation
    assert newest.partition == "ab12"
    assert newest.metadata == {"loss": dg.MetadataValue.float(0.4), "epoch": dg.MetadataValue.float(2.0)}


def test_observations_are_recorded_only_for_numbers_and_only_every_few_seconds(instance):
    assert run([(1, 9, "half")], instance, ProgressReporter(seconds_between_observations=0)) == [[]]
    assert run([(1, 9, "", {"loss": 1.0})], instance, ProgressReporter()) == [[]]


def test_the_run_log_shows_the_progress(instance):
    run([(3, 9, "loss 0.5, 1,200 items/s, 12 min left")], instance, ProgressReporter(seconds_between_lines=0))
    (record,) = instance.get_run_records()
    messages = [entry.user_message for entry in instance.all_logs(record.dagster_run.run_id)]
    assert "trained_model: 3 of 9, loss 0.5, 1,200 items/s, 12 min left" in messages


def test_an_interruption_that_nobody_heard_is_raised_once_at_the_next_report():
    former = signal.signal(signal.SIGINT, lambda *_: None)  # as Dagster's while it stores an event
    try:
        with interrupts_kept():
            raise_if_interrupted()
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(dg.DagsterExecutionInterruptedError):
                raise_if_interrupted()
            raise_if_interrupted()
    finally:
        signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ({"cat": 2, "dog": 1}, "2 classes (cat, dog)"),
        ({"person": 0, "cat": 2, "tv": 0}, "3 classes, only 1 found (cat)"),
        ({"cat": 0}, "1 class, only 0 found (none)"),
    ],
)
def test_classes_that_no_image_shows_are_told(tmp_path, labels, told):
    (tmp_path / REPORT).write_text(json.dumps({"images": 3, "objects": sum(labels.values()), "labels": labels}))
    shown = counts(Result("generated_images", "0" * 24, tmp_path))
    assert shown == ["3 images", f"{sum(labels.values())} objects", told]
