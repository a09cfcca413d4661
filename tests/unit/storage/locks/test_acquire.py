"""Locks of one machine: exclusive, shared, freed by death, and able to say who holds them."""

import os
import signal

import pytest

from assay.errors import StorageError
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from assay.storage.locks.maintenance import clear
from benchmarks.locks import meets_as_reader, meets_as_writer

pytestmark = pytest.mark.system


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


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "locks").write_text("")
    with (
        pytest.raises(StorageError, match=r"lock file .*place.lock can't be made"),
        hold(tmp_path / "locks", "place", "read"),
    ):
        pass
