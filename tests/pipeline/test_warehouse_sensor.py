"""The warehouse sensor, and the Dagster home that ``make dev`` prepares: sensors under their present names."""

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, SensorInstigatorData
from dagster._daemon.asset_daemon import get_auto_materialize_paused

from assay.storage.partitions import place_of
from assets.sensors import follow_code, update_warehouse
from resources.instance.home import prepare


def test_the_sensor_refreshes_the_warehouse_and_reports_the_changes(lab):
    def tick():
        with dg.build_sensor_context(instance=lab.instance, resources={"store": lab.store}) as context:
            return update_warehouse(context).skip_reason.skip_message

    assert tick() == "There are no results yet."
    frame = pl.DataFrame({"metric": ["mae"], "value": [1.0]})
    place_of(lab.store.path, "main", "analysis", "experiment_id", "one").write(frame)
    assert tick().startswith("1 new, 0 changed and 0 removed partitions")
    assert tick().startswith("0 new")


def sensor_state(name, location="definitions", status=InstigatorStatus.STOPPED, cursor="kept"):
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "__repository__")
    data = SensorInstigatorData(cursor=cursor)
    return InstigatorState(RemoteInstigatorOrigin(repository, name), InstigatorType.SENSOR, status, data)


def prepared(tmp_path, *states):
    """Return location, name, whether it runs, and cursor of every sensor after the home was prepared, twice."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        for state in states:
            instance.add_instigator_state(state)
        prepare(instance)
        prepare(instance)
        return {
            (state.origin.location_name, state.name, state.is_running, state.instigator_data.cursor)
            for state in instance.all_instigator_state()
        }


@pytest.mark.system
def test_sensors_that_were_renamed_keep_their_switch_and_cursor(tmp_path):
    former = [sensor_state(name) for name in ("experiment_files", "follow_inputs", "code_changes", "warehouse")]
    renamed = {"follow_files", "follow_upstream", "follow_code", "update_warehouse"}
    assert prepared(tmp_path, *former) == {("definitions", name, False, "kept") for name in renamed}


@pytest.mark.system
def test_a_sensor_that_went_on_under_its_new_name_stays_as_it_is(tmp_path):
    newer = sensor_state("follow_files", status=InstigatorStatus.RUNNING, cursor="newer")
    found = prepared(tmp_path, sensor_state("experiment_files"), newer)
    assert found == {("definitions", "follow_files", True, "newer")}


@pytest.mark.system
def test_sensors_of_other_code_locations_are_left_alone(tmp_path):
    found = prepared(tmp_path, sensor_state("experiment_files"), sensor_state("warehouse", location="theirs"))
    assert found == {("definitions", "follow_files", False, "kept"), ("theirs", "warehouse", False, "kept")}


def test_the_states_of_a_sensor_move_with_its_name(lab):
    def tick():
        with dg.build_sensor_context(instance=lab.instance, resources={"store": lab.store}) as context:
            return follow_code(context)

    states = lab.store.path / "automation"
    (states / "code_changes").mkdir(parents=True)
    (states / "code_changes" / "kept.json").touch()
    tick()
    assert not (states / "code_changes").exists()
    assert (states / "follow_code" / "kept.json").exists()
    (states / "code_changes").mkdir()
    tick()
    assert (states / "follow_code" / "kept.json").exists()


def test_a_prepared_home_does_not_claim_that_automation_is_off(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert get_auto_materialize_paused(instance)
        prepare(instance)
        assert not get_auto_materialize_paused(instance)
