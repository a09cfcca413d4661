"""Locks: exclusive, shared, freed by death, and able to say who holds them."""

import multiprocessing
import os
import signal
import time

import pytest

from assay.errors import StorageError
from assay.locks import clear_dead, describe, hold, holders


def _hold_for_ever(folder, mode):
    with hold(folder, "place", mode, "testing"):
        (folder / "held").touch()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    worker = multiprocessing.get_context("fork").Process(target=_hold_for_ever, args=(tmp_path, "write"))
    worker.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    yield worker
    worker.kill()
    worker.join()


def test_a_second_writer_waits_in_vain_and_is_told_who_holds_it(tmp_path, holder):
    with (
        pytest.raises(StorageError, match=rf"not free within 0.1 s. Held by: write lock on place by .* {holder.pid}"),
        hold(tmp_path, "place", "write", timeout_s=0.1),
    ):
        pass


def test_a_killed_holder_frees_the_lock_and_is_listed_as_dead(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with hold(tmp_path, "place", "write", timeout_s=5):
        states = {found.pid: found.alive for found in holders(tmp_path)}
        assert states == {holder.pid: False, os.getpid(): True}
    assert [dead.pid for dead in clear_dead(tmp_path)] == [holder.pid]
    assert holders(tmp_path) == []


def test_a_killed_holder_that_nobody_buried_is_dead(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    os.kill(holder.pid, 0)  # its process ID still answers
    assert [found.alive for found in holders(tmp_path)] == [False]


def test_readers_share(tmp_path):
    with hold(tmp_path, "place", "read"), hold(tmp_path, "place", "read", timeout_s=1):
        assert [found.mode for found in holders(tmp_path)] == ["read", "read"]


def test_a_lock_is_released_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path, "place", "write"):
        raise KeyError
    with hold(tmp_path, "place", "write", "again", timeout_s=1):
        assert "again (running)" in describe(holders(tmp_path)[0])
