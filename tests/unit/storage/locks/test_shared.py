"""Locks on a shared file system: kept by heartbeats, taken over without them, never lost unnoticed."""

import os
import re
import signal
import time

import pytest

from assay.errors import StorageError
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import Heartbeat, heartbeat_of, holders, state_of
from assay.storage.locks.maintenance import clear, share, unshare
from tests.unit.storage.locks.conftest import DEADLINE_S, wait_until

pytestmark = pytest.mark.system

STALE_S = 3.0
"""Long enough for a busy machine to let a holder show that it lives."""


class FastClock:
    """A clock that whoever sleeps moves on: waiting takes no time, and the same time on every machine."""

    def __init__(self, monkeypatch):
        self.started = self.now = time.monotonic()
        monkeypatch.setattr("time.sleep", self.sleep)
        for name in ("monotonic", "perf_counter"):
            monkeypatch.setattr(f"time.{name}", lambda: self.now)

    def sleep(self, seconds):
        self.now += seconds

    @property
    def passed_s(self):
        return self.now - self.started


@pytest.fixture
def shared(tmp_path):
    """A shared lock folder whose holders have to show every 0.1 s that they live."""
    (tmp_path / "shared.yaml").write_text(f"heartbeat_s: 0.1\nstale_after_s: {STALE_S}\n")
    return tmp_path


@pytest.mark.defect("B3")
def test_a_killed_holder_is_replaced_within_the_stated_time(shared, other_process, monkeypatch):
    other = other_process()
    (found,) = holders(shared)
    assert found.alive
    assert found.silent_s < STALE_S
    other.kill()
    clock = FastClock(monkeypatch)
    with hold(shared, "place", "write", timeout_s=10):
        monkeypatch.undo()
        assert STALE_S < clock.passed_s < STALE_S + 1
        assert {each.pid: each.alive for each in holders(shared)} == {other.pid: False, os.getpid(): True}
    assert [dead.pid for dead in clear(shared)] == [other.pid]
    assert holders(shared) == []


def test_a_holder_keeps_its_lock_as_long_as_its_heart_beats(shared, other_process):
    other_process()
    with pytest.raises(StorageError, match=r"place by process .* \(running\)"):  # noqa: SIM117 - reads in order
        with hold(shared, "place", "write", timeout_s=1.5 * STALE_S):
            pass


@pytest.mark.defect("B3")
def test_a_holder_that_slept_too_long_learns_that_it_lost_its_lock(shared, other_process):
    other = other_process()
    os.kill(other.pid, signal.SIGSTOP)
    wait_until(lambda: not holders(shared)[0].alive, "the holder's heartbeat is missed")
    assert re.fullmatch(r"no heartbeat for \d+ s", state_of(holders(shared)[0]))
    with hold(shared, "place", "write", timeout_s=DEADLINE_S):
        os.kill(other.pid, signal.SIGCONT)
        assert other.let_go() == 7


def test_by_force_a_living_holder_loses_its_lock_and_learns_of_it(shared, other_process):
    other = other_process()
    with pytest.raises(StorageError, match="these may be at work"):
        clear(shared, ["place"])
    assert [each.pid for each in clear(shared, ["place"], force=True)] == [other.pid]
    with hold(shared, "place", "write", timeout_s=1):
        assert [each.pid for each in holders(shared)] == [os.getpid()]
    assert other.let_go() == 7


def test_the_marker_of_the_storage_counts_for_its_named_locations(shared):
    assert heartbeat_of(shared / "named") == heartbeat_of(shared) == Heartbeat(heartbeat_s=0.1, stale_after_s=STALE_S)
    assert heartbeat_of(shared / "elsewhere") is None
    with hold(shared / "named", "place", "read"):
        assert holders(shared)[0].silent_s is not None


def test_sharing_and_back_while_nobody_holds_anything(tmp_path):
    assert heartbeat_of(tmp_path) is None
    assert share(tmp_path) == share(tmp_path) == heartbeat_of(tmp_path) == Heartbeat()
    with (
        hold(tmp_path, "place", "read"),
        pytest.raises(StorageError, match=r"can't be changed while one is held: read"),
    ):
        unshare(tmp_path)
    unshare(tmp_path)
    unshare(tmp_path)
    assert heartbeat_of(tmp_path) is None
    with (
        hold(tmp_path, "place", "read"),
        pytest.raises(StorageError, match=r"can't be changed while one is held: read"),
    ):
        share(tmp_path)
    assert heartbeat_of(tmp_path) is None


def test_sharing_again_keeps_what_the_marker_says(shared):
    before = (shared / "shared.yaml").read_bytes()
    assert share(shared).stale_after_s == STALE_S
    assert (shared / "shared.yaml").read_bytes() == before


def test_who_was_given_a_lock_while_the_flavour_changed_gives_it_back(tmp_path, other_process):
    told = []

    def change(holder):
        told.append(holder)
        other.kill()
        clear(tmp_path)
        share(tmp_path)

    other = other_process()
    with pytest.raises(StorageError, match="was changed just now"), hold(tmp_path, "place", "write", waiting=change):
        pytest.fail("worked under a lock that others no longer respect")
    assert told


def test_nothing_is_locked_while_the_flavour_is_being_changed(tmp_path):
    (tmp_path / "shared.yaml").write_text("# being changed\n")
    with (
        pytest.raises(StorageError, match="run 'assay locks --shared' or '--local' again"),
        hold(tmp_path, "a", "read"),
    ):
        pass
    share(tmp_path)
    assert heartbeat_of(tmp_path) == Heartbeat()


def test_an_empty_marker_means_the_defaults(tmp_path):
    (tmp_path / "shared.yaml").touch()
    assert heartbeat_of(tmp_path) == Heartbeat()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("heartbeat: 5", r"shared.yaml: heartbeat: unknown key. Did you mean 'heartbeat_s'\?"),
        ("heartbeat_s: 0", "shared.yaml: heartbeat_s: got 0"),
        ("stale_after_s: 6", r"stale_after_s: got 6; expected at least twice heartbeat_s \(5\)"),
        ("[5, 20]", r"shared.yaml: got \[5, 20\]; expected keys such as 'heartbeat_s: 5'"),
        ("heartbeat_s: [", "shared.yaml: .* is not valid YAML"),
    ],
)
def test_a_marker_that_is_not_valid_is_named_and_nothing_is_locked(tmp_path, text, reason):
    (tmp_path / "shared.yaml").write_text(text)
    with pytest.raises(StorageError, match=reason), hold(tmp_path, "place", "read"):
        pass
    with pytest.raises(StorageError, match=reason):
        share(tmp_path)
