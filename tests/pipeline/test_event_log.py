"""Our event log stores what Dagster's own stores, where it stores it."""

import logging
import queue
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.events import RunFailureReason

from resources.instance.event_log import LocalEventLog

ROOT = Path(__file__).parents[2]
KEY = dg.AssetKey("made")


@pytest.fixture
def home(tmp_path):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def instance(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def report(instance, partition):
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, partition=partition))


def partitions(instance):
    records = instance.fetch_materializations(dg.AssetRecordsFilter(KEY), limit=1000).records
    return {record.partition_key for record in records}


@pytest.mark.system
def test_dagsters_own_event_log_reads_what_ours_writes(instance, home):
    assert isinstance(instance.event_log_storage, LocalEventLog)
    report(instance, "ours")
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    del settings["event_log_storage"]
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(home)) as stock:
        assert type(stock.event_log_storage) is not LocalEventLog
        assert partitions(stock) == {"ours"}
        report(stock, "theirs")
    assert partitions(instance) == {"ours", "theirs"}


@pytest.mark.system
def test_threads_and_instances_write_at_the_same_time(instance, home):
    with dg.DagsterInstance.from_config(str(home)) as other, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: report((instance, other)[number % 2], f"p{number}"), range(24)))
    assert partitions(instance) == {f"p{number}" for number in range(24)}


@pytest.mark.system
def test_few_engines_are_kept_however_many_runs_are_read(instance):
    log = LocalEventLog(kept_engines=2)
    log.register_instance(instance)
    for number in range(4):
        assert log.get_logs_for_run(f"run{number}") == []
    assert list(log._engines) == ["run2", "run3"]
    log.dispose()


@pytest.mark.system
def test_the_event_log_can_be_wiped_and_used_again(instance):
    report(instance, "before")
    instance.event_log_storage.wipe()
    assert partitions(instance) == set()
    report(instance, "after")
    assert partitions(instance) == {"after"}


@dg.op
def adds(context) -> int:
    context.log.info("adding")
    return 1


@dg.op
def takes(number: int) -> None:
    assert number == 1


@dg.job(executor_def=dg.in_process_executor)
def two_steps():
    takes(adds())


def stored(instance, run_id):
    return [entry.dagster_event_type.value for entry in instance.all_logs(run_id) if entry.is_dagster_event]


@pytest.mark.system
def test_a_run_stores_what_its_steps_did_and_not_that_they_got_their_inputs(instance):
    run_id = two_steps.execute_in_process(instance=instance).run_id
    kinds = stored(instance, run_id)
    assert kinds.count("STEP_START") == kinds.count("STEP_SUCCESS") == 2
    assert kinds.count("STEP_OUTPUT") == 2
    assert not {"STEP_INPUT", "LOADED_INPUT", "HANDLED_OUTPUT"} & set(kinds)
    assert "adding" in [entry.user_message for entry in instance.all_logs(run_id)]


@pytest.mark.system
def test_a_failure_that_the_daemon_sees_is_already_in_the_runs_status(instance):
    """The daemon goes on behind the failure of a run that still counts as running, which is then never tried again."""
    run = instance.create_run_for_job(two_steps, status=dg.DagsterRunStatus.STARTED)
    failure = dg.DagsterEvent.job_failure(run.job_name, "The process is gone.", RunFailureReason.RUN_EXCEPTION)
    entry = dg.EventLogEntry(
        error_info=None,
        level=logging.ERROR,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        job_name=run.job_name,
        dagster_event=failure,
    )
    instance.event_log_storage.store_event(entry)  # what Dagster does first
    seen = instance.get_run_by_id(run.run_id)
    assert (seen.status, seen.tags["dagster/failure_reason"]) == (dg.DagsterRunStatus.FAILURE, "RUN_EXCEPTION")


@dg.op
def fails_once(context, number: int) -> None:
    if not context.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        raise ValueError("the first time")
    assert number == 1


@dg.job(executor_def=dg.in_process_executor)
def fragile():
    fails_once(adds())


@pytest.mark.system
def test_a_run_can_be_repeated_from_its_failed_step(instance):
    """Dagster takes the outputs of the steps that succeeded from the stored events."""
    with dg.execute_job(dg.reconstructable(fragile), instance, raise_on_error=False) as failed:
        assert not failed.success
    options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
    with dg.execute_job(dg.reconstructable(fragile), instance, reexecution_options=options) as repeated:
        assert repeated.success
    steps = {entry.step_key for entry in instance.all_logs(repeated.run_id) if entry.is_dagster_event}
    assert "fails_once" in steps
    assert "adds" not in steps


@pytest.mark.system
def test_a_watcher_is_told_of_each_event_while_the_run_is_at_work(instance, home):
    seen = queue.Queue()

    @dg.op
    def waits(context) -> None:
        context.log.info("begun")
        told = seen.get(timeout=60)
        while told != "begun":
            told = seen.get(timeout=60)

    @dg.job(executor_def=dg.in_process_executor)
    def watched():
        waits()

    with dg.DagsterInstance.from_config(str(home)) as web:
        run_id = "11111111-1111-4111-8111-111111111111"
        instance.event_log_storage.get_logs_for_run(run_id)  # the file exists before it is watched
        web.watch_event_logs(run_id, None, lambda entry, _cursor: seen.put(entry.user_message))
        assert watched.execute_in_process(instance=instance, run_id=run_id).success


@pytest.mark.system
def test_the_database_of_a_run_is_closed_at_its_end(instance, home):
    run_id = two_steps.execute_in_process(instance=instance).run_id
    files = {path.name for path in (home / "history" / "runs").glob(f"{run_id}*")}
    assert files == {f"{run_id}.db"}


@pytest.mark.system
def test_a_partition_that_another_process_deletes_is_gone_for_the_next_step(instance, home):
    seen = []

    def look(context):
        seen.append(context.instance.has_dynamic_partition("names", "one"))

    @dg.op
    def before(context) -> None:
        look(context)
        with dg.DagsterInstance.from_config(str(home)) as other:
            other.delete_dynamic_partition("names", "one")
        look(context)  # looked up once per step

    @dg.op(ins={"start": dg.In(dg.Nothing)})
    def after(context) -> None:
        look(context)
        context.instance.add_dynamic_partitions("names", ["one"])
        look(context)
        context.instance.delete_dynamic_partition("names", "one")
        look(context)

    @dg.job(executor_def=dg.in_process_executor)
    def looking():
        after(start=before())

    instance.add_dynamic_partitions("names", ["one"])
    assert looking.execute_in_process(instance=instance).success
    assert seen == [True, True, False, True, False]
