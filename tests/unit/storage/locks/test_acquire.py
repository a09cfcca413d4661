"""Locks of one machine: exclusive, shared, freed by death, and able to say who holds them."""

import multiprocessing
import os
import signal
from threading import Timer

import pytest

from assay.errors import StorageError
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import describe, holders
from assay.storage.locks.maintenance import clear
from benchmarks.locks import contend, meets_as_reader, meets_as_writer
from tests.unit.storage.locks.conftest import DEADLINE_S, wait_until

pytestmark = pytest.mark.system


def test_a_second_writer_waits_in_vain_and_is_told_who_holds_it(tmp_path, other_process):
    held = rf"write lock on place by process {other_process().pid} on .* for \d s, testing \(running\)"
    message = rf"The write lock on place was not free within 0.1 s. Held by: {held}."
    with pytest.raises(StorageError, match=message), hold(tmp_path, "place", "write", timeout_s=0.1):
        pass


@pytest.mark.defect("B1", "B2")
def test_processes_that_read_and_write_never_meet_a_writer(tmp_path):
    told = contend(tmp_path, processes=4, acquisitions=40, write_share=0.5, stays_s=0.002)
    assert told.violations == 0
    assert told.acquisitions == 4 * 40
    assert holders(tmp_path / "locks") == []


def test_the_witness_sees_whom_a_lock_should_have_kept_out(tmp_path):
    assert not meets_as_writer(tmp_path)
    assert not meets_as_reader(tmp_path)
    (tmp_path / "reader-1").touch()
    assert meets_as_writer(tmp_path)
    assert not meets_as_reader(tmp_path)
    (tmp_path / "writer").touch()
    assert meets_as_writer(tmp_path)
    assert meets_as_reader(tmp_path)


@pytest.mark.defect("B3")
def test_a_killed_holder_frees_the_lock_at_once_and_is_listed_as_dead(tmp_path, other_process):
    other = other_process()
    other.kill()
    with hold(tmp_path, "place", "write", timeout_s=0):
        states = {found.pid: found.alive for found in holders(tmp_path)}
        assert states == {other.pid: False, os.getpid(): True}
    assert [dead.pid for dead in clear(tmp_path)] == [other.pid]
    assert holders(tmp_path) == []


def test_a_killed_holder_that_nobody_buried_is_dead(tmp_path, other_process):
    other = other_process()
    os.kill(other.pid, signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    os.kill(other.pid, 0)  # its process ID still answers
    assert [found.alive for found in holders(tmp_path)] == [False]


def test_readers_share(tmp_path):
    with hold(tmp_path, "place", "read"), hold(tmp_path, "place", "read", timeout_s=1):
        assert [found.mode for found in holders(tmp_path)] == ["read", "read"]


def test_a_lock_is_released_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path, "place", "write"):
        raise KeyError
    with hold(tmp_path, "place", "write", "again", timeout_s=1):
        assert "again (running)" in describe(holders(tmp_path)[0])


def test_who_waits_is_told_once_who_is_in_the_way(tmp_path, other_process):
    other = other_process("team/place", "read")
    told = []

    def tell_and_wait_longer(line):
        told.append(line)
        Timer(1, other.go.touch).start()  # time to be told again

    with hold(tmp_path, "team/place", "write", timeout_s=DEADLINE_S, waiting=tell_and_wait_longer):
        pass
    (line,) = told
    assert line.startswith(f"read lock on team/place by process {other.pid} on ")


def test_nobody_is_told_of_a_lock_that_is_free(tmp_path):
    told = []
    with hold(tmp_path, "place", "write", waiting=told.append):
        assert told == []


def test_a_wait_can_be_interrupted(tmp_path, other_process):
    other_process()
    waits = multiprocessing.get_context("spawn").Process(target=_wait, args=(tmp_path,))
    waits.start()
    wait_until((tmp_path / "waits").exists, "the process waits")
    os.kill(waits.pid, signal.SIGINT)
    waits.join(DEADLINE_S)
    assert waits.exitcode == 1


def _wait(folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with hold(folder, "place", "write", waiting=(folder / "waits").write_text):
        pass


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "locks").write_text("")
    with (
        pytest.raises(StorageError, match=r"lock file .*place.lock can't be made"),
        hold(tmp_path / "locks", "place", "read"),
    ):
        pass
