"""The warehouse sensor, and the Dagster home that ``make dev`` prepares."""

import dagster as dg
import polars as pl
from dagster._daemon.asset_daemon import get_auto_materialize_paused

from assay.storage.partitions import place_of
from assets.sensors import warehouse
from resources.instance.home import prepare


def test_the_sensor_refreshes_the_warehouse_and_reports_the_changes(lab):
    def tick():
        with dg.build_sensor_context(instance=lab.instance, resources={"store": lab.store}) as context:
            return warehouse(context).skip_reason.skip_message

    assert tick() == "There are no results yet."
    frame = pl.DataFrame({"metric": ["mae"], "value": [1.0]})
    place_of(lab.store.path, "main", "analysis", "experiment_id", "one").write(frame)
    assert tick().startswith("1 new, 0 changed and 0 removed partitions")
    assert tick().startswith("0 new")


def test_a_prepared_home_does_not_claim_that_automation_is_off(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert get_auto_materialize_paused(instance)
        prepare(instance)
        assert not get_auto_materialize_paused(instance)
