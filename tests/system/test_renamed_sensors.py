"""A Dagster home whose sensors ran under their former names: after an upgrade they go on where they were."""

import subprocess
import sys

import dagster as dg
import pytest

from resources.instance.home import FORMER_SENSORS
from tests.helpers.projects import ROOT, TINY
from tests.helpers.servers import STOP_SENSOR
from tests.helpers.story import automated_project

pytestmark = pytest.mark.system

MISSING = "task: regression\ngenerated_images: {source: {kind: table, path: missing.csv, target_column: y}}\n"


def name_as_before(story):
    """Undo the renaming, in the records of the instance and of folders with states; later sensors had no records."""
    for state in story.instance.all_instigator_state():
        if state.name in FORMER_SENSORS:
            origin = state.origin._replace(instigator_name=FORMER_SENSORS[state.name])
            story.instance.add_instigator_state(state._replace(origin=origin))
        story.instance.delete_instigator_state(state.instigator_origin_id, state.selector_id)
    for folder in (story.project.storage / "automation").iterdir():
        folder.rename(folder.with_name(FORMER_SENSORS[folder.name]))


def names(instance):
    return {state.name for state in instance.all_instigator_state()}


def test_renamed_sensors_lose_no_change_repeat_no_run_and_stay_stopped(tmp_path, request):
    with automated_project(tmp_path, request) as story:
        story.project.write("tiny", TINY)
        story.project.write("failing", MISSING)
        assert story.wait_for_runs("tiny", 1) == "SUCCESS"
        assert story.wait_for_runs("failing", 1) == "FAILURE"
        story.tick()
        story.tick("follow_upstream")
        story.servers.graphql(STOP_SENSOR, id=story.sensor("update_warehouse")["id"])
        story.servers.stop("daemon")

        name_as_before(story)
        assert names(story.instance) <= set(FORMER_SENSORS.values())
        # By hand, while nothing follows: another split.
        tags = {"dagster/data_version": "another"}
        story.instance.report_runless_asset_event(dg.AssetMaterialization("splits", partition="tiny", tags=tags))
        prepare = [sys.executable, "-m", "resources.instance.home"]
        subprocess.run(prepare, cwd=ROOT, env=story.project.environment, check=True, timeout=120)

        story.servers.start_daemon()
        assert story.wait_for_runs("tiny", 2) == "SUCCESS"
        story.tick()
        story.tick("follow_upstream")
        assert len(story.runs("failing")) == 1
        assert len(story.runs("tiny")) == 2
        assert dg.AssetKey("trained_model") in story.runs("tiny")[-1].dagster_run.asset_selection
        assert not story.is_running("update_warehouse")
        assert names(story.instance) <= {*FORMER_SENSORS, "follow_boards"}
        assert {path.name for path in (story.project.storage / "automation").iterdir()} == {"follow_files"}
