"""The pool of the trainings: ``assay run`` waits for a slot as the daemon's runs do, and never leaves one taken."""

import signal
from contextlib import contextmanager

import dagster as dg
import pytest

from resources.instance.home import make_home
from resources.instance.run_process import RunFiles
from tests.helpers.projects import TINY, make_project
from tests.helpers.servers import wait_until

pytestmark = pytest.mark.system

SLOW = TINY.replace("epochs: 2", "epochs: 4000")


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


@pytest.fixture
def instance(project):
    home = project.folder / "home"
    make_home(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots("training", 1)
        yield instance


@contextmanager
def training_elsewhere(instance, name="other"):
    """Let this process be a run that trains."""
    run = dg.DagsterRun("job_train", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": name})
    instance.add_run(run)
    with RunFiles.of(instance, run.run_id).held():
        assert instance.event_log_storage.claim_concurrency_slot("training", run.run_id, "trained_model").is_claimed
        yield
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def run_of(instance, experiment_id):
    (run, *_) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": experiment_id})) or [None]
    return run


def waits(instance, experiment_id="tiny"):
    run = run_of(instance, experiment_id)
    return run and any("blocked by" in event.message for event in instance.all_logs(run.run_id))


def taken(instance):
    return [slot.step_key for slot in instance.event_log_storage.get_concurrency_info("training").claimed_slots]


def test_a_run_in_the_terminal_waits_for_its_slot_and_says_for_whom(project, instance):
    with training_elsewhere(instance):
        process = project.start("assay", "run", "tiny")
        wait_until(lambda: waits(instance), "it waits")
        assert run_of(instance, "tiny").status is dg.DagsterRunStatus.STARTED
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "Others train: other. A training here waits until the pool 'training' has room." in output
    assert taken(instance) == []


def test_who_stops_a_waiting_run_leaves_no_slot_taken_and_gets_one_sentence(project, instance):
    with training_elsewhere(instance):
        process = project.start("assay", "run", "tiny")
        wait_until(lambda: waits(instance), "it waits")
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=120)[0]
    assert "Stopped. What was finished stays" in output
    assert "Traceback" not in output
    assert run_of(instance, "tiny").status is dg.DagsterRunStatus.CANCELED
    assert instance.event_log_storage.get_concurrency_info("training").pending_steps == []
    assert taken(instance) == []


def test_a_killed_run_leaves_its_slot_to_the_next_also_without_a_daemon(project, instance):
    project.write("slow", SLOW)
    process = project.start("assay", "run", "slow")
    wait_until(lambda: taken(instance), "it trains")
    process.kill()
    process.communicate(timeout=60)
    assert taken(instance) == ["trained_model"]
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    assert taken(instance) == []
