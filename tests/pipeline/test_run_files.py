"""A run's process is alive as long as it holds its file, whatever process IDs say."""

import os
import subprocess
import sys

import pytest

from assay.errors import StorageError
from resources.instance.run_process import RunFiles, note_process

SLEEPER = "import sys; sys.stdin.read()"


def start(files):
    claim = files.claim()
    process = subprocess.Popen([sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, pass_fds=[claim])
    note_process(claim, process.pid)
    os.close(claim)
    return process


@pytest.fixture
def files(tmp_path):
    return RunFiles(tmp_path / "processes", "run")


def test_a_run_that_was_never_started_is_unknown(files):
    assert (files.known, files.alive, files.process_id(), files.log_tail()) == (False, False, None, "")


def test_a_started_process_is_alive_until_it_is_killed_and_dead_afterwards(files):
    with start(files) as process:
        assert (files.alive, files.process_id()) == (True, process.pid)
        process.kill()
        process.wait()
        assert (files.alive, files.known) == (False, True)


def test_a_run_can_not_be_started_twice_at_once(files):
    with start(files) as process:
        with pytest.raises(StorageError, match=rf"Run run has a process already \({process.pid}\)"):
            files.claim()
        process.kill()
        process.wait()
        os.close(files.claim())


def test_a_process_is_dead_even_if_another_living_process_has_its_id(files):
    claim = files.claim()
    note_process(claim, os.getpid())
    os.close(claim)
    assert (files.process_id(), files.alive) == (os.getpid(), False)


def test_holding_the_file_for_a_block_leaves_nothing_behind(files):
    with files.held():
        assert (files.alive, files.process_id()) == (True, os.getpid())
    assert not files.known


def test_the_end_of_the_log_is_returned(files):
    files.folder.mkdir()
    files.log.write_text("x" * 5000 + "\nProcess 7 was killed by SIGKILL.\n")
    assert files.log_tail().endswith("xxx\nProcess 7 was killed by SIGKILL.")
    assert len(files.log_tail()) == 2000 - 1
