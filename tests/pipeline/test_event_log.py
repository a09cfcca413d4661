"""Our event log stores what Dagster's own stores, where it stores it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import yaml

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
