"""What every backend of locks must do: each test runs on all that there are, and a further one joins ``BACKENDS``."""

import multiprocessing
import os
import signal
from threading import Thread, Timer

import pytest

from assay.errors import InUseError, StorageError
from assay.storage.files import write_text
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import describe, heartbeat_of, holders
from benchmarks.locks import contend
from tests.unit.storage.locks.conftest import DEADLINE_S, wait_until

pytestmark = pytest.mark.system

BEATS = "heartbeat_s: 0.1\nstale_after_s: 3.0\n"
BACKENDS = {"one machine": "", "heartbeats": BEATS, "bucket": f"{BEATS}s3: {{url}}\n"}
"""The marker of a lock folder by the name of its backend; none if it is empty."""


@pytest.fixture(params=BACKENDS)
def folder(request, tmp_path):
    """A lock folder, which is that of the processes of ``other_process``, too."""
    url = request.getfixturevalue("s3").new_prefix() if request.param == "bucket" else ""
    if BACKENDS[request.param]:
        for place in (tmp_path, tmp_path / "locks"):
            write_text(place / "shared.yaml", BACKENDS[request.param].format(url=url))
    assert (heartbeat_of(tmp_path) is None) == (request.param == "one machine")
    return tmp_path


def test_a_second_writer_waits_in_vain_and_is_told_who_holds_it(folder, other_process):
    held = rf"write lock on place by process {other_process().pid} on .* for \d s, testing \(running\)"
    message = rf"The write lock on place was not free within 0.1 s. Held by: {held}."
    with pytest.raises(StorageError, match=message), hold(folder, "place", "write", timeout_s=0.1):
        pass


@pytest.mark.defect("B1", "B2")
def test_processes_that_read_and_write_never_meet_a_writer(folder):
    acquisitions = 40 if heartbeat_of(folder) is None else 8  # on a shared file system, every step is a file
    told = contend(folder, processes=4, acquisitions=acquisitions, write_share=0.5, stays_s=0.002)
    assert (told.violations, told.acquisitions) == (0, 4 * acquisitions)
    assert holders(folder / "locks") == []


def test_readers_share(folder):
    with hold(folder, "place", "read"), hold(folder, "place", "read", timeout_s=1):
        assert [found.mode for found in holders(folder)] == ["read", "read"]


def test_a_lock_is_released_when_the_block_fails(folder):
    with pytest.raises(KeyError), hold(folder, "place", "write"):
        raise KeyError
    with hold(folder, "place", "write", "again", timeout_s=1):
        assert "again (running)" in describe(holders(folder)[0])


def test_who_waits_is_told_once_who_is_in_the_way(folder, other_process):
    other = other_process("team/place", "read")
    told = []

    def tell_and_wait_longer(line):
        told.append(line)
        Timer(1, other.go.touch).start()  # time to be told again

    with hold(folder, "team/place", "write", timeout_s=DEADLINE_S, waiting=tell_and_wait_longer):
        pass
    (line,) = told
    assert line.startswith(f"read lock on team/place by process {other.pid} on ")


def test_nobody_is_told_of_a_lock_that_is_free(folder):
    told = []
    with hold(folder, "place", "write", waiting=told.append):
        assert told == []


def test_a_wait_can_be_interrupted(folder, other_process):
    other_process()
    waits = multiprocessing.get_context("spawn").Process(target=_wait, args=(folder,))
    waits.start()
    wait_until((folder / "waits").exists, "the process waits")
    os.kill(waits.pid, signal.SIGINT)
    waits.join(DEADLINE_S)
    assert waits.exitcode == 1


def _wait(folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with hold(folder, "place", "write", waiting=(folder / "waits").write_text):
        pass


def test_threads_of_one_process_wait_for_each_other(folder):
    order = []

    def enter():
        with hold(folder, "place", "write", timeout_s=DEADLINE_S):
            order.append("second")

    with hold(folder, "place", "write"):
        other = Thread(target=enter)
        other.start()
        with pytest.raises(InUseError), hold(folder, "place", "read", timeout_s=0):
            pass
        order.append("first")
    other.join(DEADLINE_S)
    assert order == ["first", "second"]


def test_locks_of_other_names_are_free(folder):
    with hold(folder, "place", "write"), hold(folder, "place/inner", "write", timeout_s=0):
        assert sorted(found.lock for found in holders(folder)) == ["place", "place/inner"]


def test_what_a_killed_holder_had_is_free_in_the_end(folder, other_process):
    other_process().kill()
    with hold(folder, "place", "write", timeout_s=DEADLINE_S):
        assert [found.pid for found in holders(folder) if found.alive] == [os.getpid()]
