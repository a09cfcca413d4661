"""The run launcher without a daemon: its configuration in dagster.yaml, and what it reports about runs."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from resources.instance.run_launcher import ProcessRunLauncher
from resources.instance.run_process import RunFiles, note_process
from resources.instance.run_template import changed_since
from resources.instance.run_template_process import restless_threads, watched_sources

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def run(instance):
    @dg.op
    def nothing():
        pass

    @dg.job
    def job():
        nothing()

    return instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)


def test_dagster_yaml_names_our_launcher_and_modules_that_exist(instance):
    launcher = instance.run_launcher
    assert isinstance(launcher, ProcessRunLauncher)
    assert launcher.supports_check_run_worker_health
    for name in launcher.inst_data.config_dict["preload"]:
        assert importlib.util.find_spec(name), name


def test_a_started_run_whose_process_lives_is_running(instance, run):
    with RunFiles.of(instance, run.run_id).held():
        assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_started_run_whose_process_is_gone_has_failed_and_its_log_is_shown(instance, run):
    files = RunFiles.of(instance, run.run_id)
    claim = files.claim()
    note_process(claim, os.getpid())
    os.close(claim)
    files.log.write_text("MemoryError\n")
    health = instance.run_launcher.check_run_worker_health(run)
    assert (health.status, health.msg) == (WorkerStatus.FAILED, f"process {os.getpid()} is gone")
    assert instance.run_launcher.get_run_worker_debug_info(run).endswith("MemoryError")


def test_a_run_that_somebody_else_started_is_left_alone(instance, run):
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING


def test_a_run_of_another_machine_is_not_said_to_be_cancelled(instance, run):
    """Where several machines have the same records, no process here proves nothing."""
    settings = Path(instance.root_directory) / "dagster.yaml"
    text = settings.read_text()
    settings.write_text(f"{text}\nrun_storage: {{}}\n")
    try:
        assert not instance.run_launcher.terminate(run.run_id)
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED
    finally:
        settings.write_text(text)


def test_cancelling_a_run_whose_process_is_gone_ends_it(instance, run):
    assert instance.run_launcher.terminate(run.run_id)
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.CANCELED
    assert not instance.run_launcher.terminate(run.run_id)


def test_a_run_that_does_not_end_in_time_is_killed(instance, run):
    launcher = ProcessRunLauncher(preload=[], kill_after_seconds=0, fork=False)
    launcher.register_instance(instance)
    files = RunFiles.of(instance, run.run_id)
    claim = files.claim()
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); signal.pause()"
    command = [sys.executable, "-c", stubborn]
    process = subprocess.Popen(command, pass_fds=[claim], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    note_process(claim, process.pid)
    os.close(claim)
    assert launcher.terminate(run.run_id)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()
    deadline = time.monotonic() + 60
    while (status := instance.get_run_by_id(run.run_id).status) is not dg.DagsterRunStatus.CANCELED:
        assert status is dg.DagsterRunStatus.CANCELING
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_template_watches_our_sources_and_the_folder_of_installed_packages(monkeypatch):
    nowhere = types.ModuleType("nowhere")
    nowhere.__file__ = "_classes.py"  # as torch has it
    monkeypatch.setitem(sys.modules, "nowhere", nowhere)
    watched = watched_sources()
    assert str(ROOT / "resources" / "instance" / "run_launcher.py") in watched
    assert any(path.endswith("site-packages") for path in watched)
    assert not any("/site-packages/" in path for path in watched)
    assert "_classes.py" not in watched


def test_a_file_that_is_written_or_removed_after_the_template_started_makes_it_stale(tmp_path):
    source = tmp_path / "module.py"
    source.write_text("x = 1\n")
    assert not changed_since(str(source), time.time() + 1)
    os.utime(source, (0, 0))  # as unpacking an archive does: looks older than it is
    assert changed_since(str(source), time.time() - 60)
    source.unlink()
    assert changed_since(str(source), time.time() + 1)


def test_a_thread_of_our_own_is_seen_before_a_fork():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="at work")
    thread.start()
    try:
        assert "at work" in restless_threads()
    finally:
        stop.set()
        thread.join()
