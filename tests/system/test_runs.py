"""What happens to a run when something dies: its process, the daemon, or the user's patience."""

import os
import signal

import dagster as dg
import psutil
import pytest

from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from resources.instance.run_process import RunFiles
from tests.helpers.projects import TINY, make_project
from tests.helpers.servers import serve, wait_until
from tests.system.test_kill import digests

pytestmark = pytest.mark.system

SLOW = TINY.replace("epochs: 2", "epochs: 400").replace("max_amount: 3", "max_amount: 2")
SLOW += "filelock_dict: {labels: {location: labels, kind: write}}\n"
FORKED = SLOW.replace("task: regression", "task: regression\nseed: 7")
CANCELLED = SLOW.replace("task: regression", "task: regression\nseed: 8")
CANCELLED = CANCELLED.replace("kind: write}", "kind: write, hold: training_to_analysis}")
"""Trained anew, so that there is time to cancel it; the others find what the first one made."""

LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
ADD = """mutation($where: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $where, partitionsDefName: "experiments", partitionKey: $key) {
    __typename } }"""
TERMINATE = """mutation($run: String!) { terminateRun(runId: $run) { __typename ... on Error { message } } }"""
PLACE = {"repositoryLocationName": "definitions", "repositoryName": "__repository__"}


class Runs:
    """The runs of one project under its real daemon."""

    def __init__(self, project, servers, instance):
        self.project = project
        self.servers = servers
        self.instance = instance

    def launch(self, experiment_id):
        self.servers.graphql(ADD, where=PLACE, key=experiment_id)
        params = {
            "selector": {**PLACE, "jobName": "job_experiment"},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": experiment_id}]},
        }
        return self.servers.graphql(LAUNCH, params=params)["launchRun"]["run"]["runId"]

    def status(self, run_id):
        return self.instance.get_run_by_id(run_id).status.value

    def wait_for(self, run_id, *statuses, timeout_s=90):
        return wait_until(lambda: self.status(run_id) in statuses, f"{run_id} in {statuses}", timeout_s, every_s=0.2)

    def wait_for_training(self, run_id):
        """Wait until the model is being trained, and return the run's process."""

        def training():
            started = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)
            return any(event.step_key == "trained_model" for event in started)

        wait_until(training, "training", every_s=0.05)
        return psutil.Process(RunFiles.of(self.instance, run_id).process_id())

    @property
    def named(self):
        """The folder of the lock that every run of this file holds while a stage works."""
        return self.project.storage / "locks" / "named"

    def wait_for_named_lock(self, process):
        """Wait until a run's training holds its named lock."""

        def held():
            return [(each.lock, each.pid) for each in holders(self.named) if each.alive]

        wait_until(lambda: held() == [("labels", process.pid)], "the training holds its lock", every_s=0.05)

    def alive(self, run_id):
        return RunFiles.of(self.instance, run_id).alive

    def forked(self, run_id):
        """Whether a run's process is a copy of the template."""
        notes = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        return any((note.dagster_event.message or "").startswith("Forked process") for note in notes)

    def templates(self):
        return [
            each for each in self.servers.everything() if "resources.instance.run_template_process" in each.cmdline()
        ]

    def retry_of(self, run_id):
        """Wait for the run that Dagster started in place of another one, and return its ID."""
        tags = {"dagster/parent_run_id": run_id}

        def retries():
            return self.instance.get_runs(dg.RunsFilter(tags=tags))

        try:
            (retry,) = wait_until(retries, "the run is tried again", timeout_s=120)
        except AssertionError as error:
            error.add_note(f"tags: {self.instance.get_run_by_id(run_id).tags}")
            error.add_note("\n".join(entry.message for entry in self.instance.all_logs(run_id)[-8:]))
            raise
        return retry.run_id

    def wait_until_free(self):
        """Wait until no living process holds a lock and no slot of a pool is taken; the daemon frees dead ones'."""
        wait_until(lambda: not self.taken(), "locks and slots are free", timeout_s=60)

    def taken(self):
        """Return the locks that living processes hold, and the slots that are taken."""
        held = [holder for holder in holders(self.project.storage / "locks") if holder.alive]
        storage = self.instance.event_log_storage
        pools = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
        return held + [pool for pool in pools if pool.active_slot_count]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, request):
    project = make_project(tmp_path_factory.mktemp("project"))
    (project.folder / "experiments" / "tiny.yaml").unlink()
    for name in ("killed", "cancelled", "survivor", "terminal", "warm", "forked"):
        project.write(name, {"forked": FORKED, "cancelled": CANCELLED}.get(name, SLOW))
    with serve(project, request) as servers, dg.DagsterInstance.from_config(str(project.folder / "home")) as instance:
        servers.start_webserver()
        servers.pause_automation()
        servers.start_daemon()
        # Failures from before the daemon's first look at events are never tried again.
        cursor = {"EVENT_LOG_CONSUMER_CURSOR-PIPELINE_FAILURE"}
        wait_until(lambda: instance.daemon_cursor_storage.get_cursor_values(cursor), "the daemon looks at events")
        yield Runs(project, servers, instance)


def test_a_killed_run_is_marked_failed_and_tried_again_once_with_the_same_bytes(runs, project):
    """Defect B3: a killed holder leaves its lock."""
    run_id = runs.launch("killed")
    process = runs.wait_for_training(run_id)
    runs.wait_for_named_lock(process)
    process.send_signal(signal.SIGKILL)
    with hold(runs.named, "labels", "write", timeout_s=1):
        pass
    runs.wait_for(run_id, "FAILURE")
    retry = runs.retry_of(run_id)
    runs.wait_for(retry, "SUCCESS", "FAILURE")
    assert runs.status(retry) == "SUCCESS"
    runs.wait_until_free()
    project.write("killed", SLOW)
    code, output = project.assay("run", "killed")
    assert code == 0, output
    assert digests(runs.project.storage) == digests(project.storage)


def test_a_cancelled_run_ends_and_can_be_run_again(runs):
    run_id = runs.launch("cancelled")
    process = runs.wait_for_training(run_id)
    runs.wait_for_named_lock(process)
    answer = runs.servers.graphql(TERMINATE, run=run_id)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    runs.wait_for(run_id, "CANCELED")
    wait_until(lambda: not runs.alive(run_id), f"process {process.pid} ends")
    assert process.pid not in {holder.pid for holder in holders(runs.named)}
    with hold(runs.named, "labels", "write", timeout_s=0):
        pass
    runs.wait_until_free()
    again = runs.launch("cancelled")
    runs.wait_for(again, "SUCCESS", "FAILURE")
    assert runs.status(again) == "SUCCESS"


def test_a_run_outlives_the_daemon(runs):
    run_id = runs.launch("survivor")
    runs.wait_for_training(run_id)
    daemon = runs.servers.processes.pop("daemon")
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    runs.wait_for(run_id, "SUCCESS", "FAILURE")
    assert runs.status(run_id) == "SUCCESS"
    wait_until(lambda: not runs.templates(), "the template ends with its owner")
    runs.servers.start_daemon()


def test_a_killed_assay_run_is_marked_failed_and_blocks_nobody(runs):
    terminal = runs.project.start("assay", "run", "terminal")
    (record,) = wait_until(
        lambda: runs.instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])), "the run started"
    )
    runs.wait_for_training(record.dagster_run.run_id)
    terminal.send_signal(signal.SIGKILL)
    terminal.wait()
    terminal.stdout.close()
    runs.wait_for(record.dagster_run.run_id, "FAILURE")
    again = runs.launch("terminal")
    runs.wait_for(again, "SUCCESS", "FAILURE")
    assert runs.status(again) == "SUCCESS"


def test_a_forked_run_makes_the_bytes_of_a_fresh_process(runs, tmp_path):
    def forked():
        run_id = runs.launch("warm")
        runs.wait_for(run_id, "SUCCESS")
        return runs.forked(run_id)

    wait_until(forked, "the template has loaded", timeout_s=120)
    run_id = runs.launch("forked")
    runs.wait_for(run_id, "SUCCESS", "FAILURE")
    assert (runs.status(run_id), runs.forked(run_id)) == ("SUCCESS", True)
    fresh = make_project(tmp_path)
    fresh.write("forked", FORKED)
    code, output = fresh.assay("run", "forked")
    assert code == 0, output
    made, wanted = digests(runs.project.storage), digests(fresh.storage)
    assert {name: made.get(name) for name in wanted} == wanted


def test_a_run_stopped_in_the_terminal_is_cancelled_in_one_sentence(tmp_path):
    project = make_project(tmp_path)
    project.write("slow", TINY.replace("epochs: 2", "epochs: 4000"))
    # Whoever runs the tests in the background ignores SIGINT, and so would the child.
    process = project.start(
        "assay",
        "run",
        "slow",
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    )
    with dg.DagsterInstance.from_config(project.environment["DAGSTER_HOME"]) as instance:

        def training():
            runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "slow"}))
            started = [event for run in runs for event in instance.all_logs(run.run_id)]
            return any(
                event.step_key == "trained_model" and event.dagster_event_type is dg.DagsterEventType.STEP_START
                for event in started
            )

        wait_until(training, "the model is being trained", timeout_s=120)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the command gets it
        output, _ = process.communicate(timeout=60)
        (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "slow"}))
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert process.returncode == 130
    assert output.splitlines()[-1] == "Stopped. What was finished stays; goes on with: assay run slow"
    assert "Traceback" not in output
