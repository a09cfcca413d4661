"""`assay run` beside automation: no work is done twice, and no mistake fails twice."""

import shutil
import threading
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from assay.experiments.specs import store_run_config
from assets.launch import run_experiment
from definitions import build_defs
from resources.failures import FAILURE_TAG
from resources.instance.run_process import RunFiles, claimed_by_terminal, claimed_in_terminal
from resources.instance.run_records import SUPERSEDED_TAG
from tests.pipeline.conftest import Automation, Lab

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("definitions"), "all"), "job_experiment")
MISSING = {"source": {"kind": "table", "path": "/nowhere/rows.csv", "target_column": "y"}}


@pytest.fixture
def automation(tmp_path, monkeypatch):
    """Automation of a project whose Dagster home `assay run` uses, too."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield Automation(Lab(tmp_path, instance))


def run(automation, name):
    return run_experiment(build_defs, name, automation.lab.store.specs.load(name), "job_experiment")


def add_run(automation, run_id, status, name="one", assets=("experiment",), **tags):
    run = dg.DagsterRun(
        job_name="job_experiment",
        run_id=run_id,
        status=status,
        asset_selection=frozenset(map(dg.AssetKey, assets)),
        tags={"dagster/partition": name, **tags},
        remote_job_origin=ORIGIN,
    )
    automation.lab.instance.add_run(run)
    return run


def test_what_failed_in_the_terminal_is_not_asked_for_until_the_file_is_saved(automation, capfd):
    automation.write("one", generated_images=MISSING)
    assert not run(automation, "one")
    assert "/nowhere/rows.csv" in capfd.readouterr().out
    assert not automation.tick().run_requests
    assert not automation.tick().run_requests
    automation.change("one", seed=7)
    assert len(automation.tick().run_requests) == 1


def test_what_the_terminal_made_is_not_asked_for(automation):
    automation.write("one")
    assert run(automation, "one")
    assert not automation.tick().run_requests


def test_what_the_terminal_made_competes_for_its_board_at_once_and_the_ui_is_told(automation, capfd):
    automation.write("one", board="numbers", exptests={"tests": []})
    assert run(automation, "one")
    told = capfd.readouterr().out.splitlines()
    assert told[-2] == "Promoted: the first one on this board."
    assert told[-1].startswith("one is the champion of board numbers: mae")
    event = automation.lab.instance.get_latest_materialization_event(dg.AssetKey("champion"))
    assert event.asset_materialization.metadata["summary"].value.startswith("one is the champion of board numbers")


def test_queued_runs_of_automation_with_the_same_work_are_given_up_and_others_are_not(automation):
    automation.write("one")
    instance, by_sensor = automation.lab.instance, {"dagster/sensor_name": "files"}
    add_run(automation, "same", dg.DagsterRunStatus.QUEUED, **by_sensor)
    add_run(automation, "by hand", dg.DagsterRunStatus.QUEUED)
    add_run(automation, "more", dg.DagsterRunStatus.QUEUED, assets=("experiment", "crops", "other"), **by_sensor)
    add_run(automation, "elsewhere", dg.DagsterRunStatus.QUEUED, name="two", **by_sensor)
    assert run(automation, "one")
    states = {run_id: instance.get_run_by_id(run_id).status.value for run_id in ("by hand", "more", "elsewhere")}
    assert set(states.values()) == {"QUEUED"}
    same = instance.get_run_by_id("same")
    assert same.status is dg.DagsterRunStatus.CANCELED
    assert instance.get_run_by_id(same.tags[SUPERSEDED_TAG]).status is dg.DagsterRunStatus.SUCCESS


@pytest.mark.parametrize("is_same_spec", [True, False])
def test_a_terminal_waits_for_the_run_at_work_and_tells_its_failure_unless_the_spec_is_another(
    automation, capfd, is_same_spec
):
    automation.write("one")
    instance, store = automation.lab.instance, automation.lab.store
    store_run_config(store.path, "other", "one", store.specs.load("one"))
    if not is_same_spec:
        automation.change("one", seed=7)
    other = add_run(automation, "other", dg.DagsterRunStatus.STARTED, **{"assay/reason": "changed: rows.csv"})
    waiting = threading.Event()

    def fail():
        with RunFiles.of(instance, "other").held():
            waiting.set()
            end.wait(60)
            instance.add_run_tags("other", {FAILURE_TAG: "Experiment one, splits: too few rows"})
            instance.report_run_failed(other)

    end, process = threading.Event(), threading.Thread(target=fail)
    process.start()
    waiting.wait(60)
    ending = threading.Timer(1.0, end.set)
    ending.start()
    succeeded = run(automation, "one")
    process.join(60)
    shown = capfd.readouterr().out
    assert "Another run is at work on one (changed: rows.csv): waiting for it." in shown
    assert succeeded is not is_same_spec
    assert ("error: Experiment one, splits: too few rows" in shown) is is_same_spec


def test_a_run_of_automation_is_not_launched_while_a_terminal_makes_the_same(automation):
    automation.write("one")
    instance, by_sensor = automation.lab.instance, {"dagster/sensor_name": "files"}
    status = dg.DagsterRunStatus.STARTING
    same = add_run(automation, "same", status, **by_sensor)
    by_hand = add_run(automation, "by hand", status)
    more = add_run(automation, "more", status, assets=("experiment", "crops"), **by_sensor)
    elsewhere = add_run(automation, "elsewhere", status, name="two", **by_sensor)
    launcher = instance.run_launcher
    with claimed_by_terminal(instance, "one", "terminal", ["experiment", "splits"]):
        with claimed_by_terminal(instance, "one", "second terminal", ["crops"]):
            assert claimed_in_terminal(instance, "one") == ("terminal", {"experiment", "splits"})
        assert launcher._is_given_up(same)
        assert not any(map(launcher._is_given_up, (by_hand, more, elsewhere)))
    assert not launcher._is_given_up(same)
    same = instance.get_run_by_id("same")
    assert (same.status, same.tags[SUPERSEDED_TAG]) == (dg.DagsterRunStatus.CANCELED, "terminal")


def test_a_run_whose_process_is_gone_is_not_waited_for(automation):
    automation.write("one")
    add_run(automation, "gone", dg.DagsterRunStatus.STARTED)
    assert run(automation, "one")


def test_a_run_in_the_terminal_is_listed_under_its_job_and_never_retried(automation):
    automation.write("one")
    assert run(automation, "one")
    filters = dg.RunsFilter(job_name="job_experiment", tags={".dagster/repository": "__repository__@definitions"})
    (found,) = automation.lab.instance.get_runs(filters)
    assert found.status is dg.DagsterRunStatus.SUCCESS
    assert found.remote_job_origin.location_name == "definitions"
    assert found.tags["dagster/max_retries"] == "0"


def test_a_queued_run_of_a_backfill_is_given_up_with_the_reason_if_the_terminal_fails_with_the_same(automation):
    automation.write("one", generated_images=MISSING)
    add_run(automation, "same", dg.DagsterRunStatus.QUEUED, **{"dagster/backfill": "b"})
    assert not run(automation, "one")
    same = automation.lab.instance.get_run_by_id("same")
    assert same.status is dg.DagsterRunStatus.CANCELED
    assert "/nowhere/rows.csv" in same.tags[FAILURE_TAG]


def test_a_queued_run_of_a_backfill_is_left_where_the_terminal_succeeds(automation):
    automation.write("one")
    add_run(automation, "same", dg.DagsterRunStatus.QUEUED, **{"dagster/backfill": "b"})
    assert run(automation, "one")
    assert automation.lab.instance.get_run_by_id("same").status is dg.DagsterRunStatus.QUEUED
