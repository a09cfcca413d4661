"""Locks in a bucket beyond what all backends do: numbers, clocks, servers that were away, listing and clearing."""

import os
import signal
import threading
import time

import pytest

from assay.errors import InUseError, StorageError
from assay.storage.bucket import Bucket
from assay.storage.files import write_text
from assay.storage.locks import lease
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from assay.storage.locks.lease import Lease
from assay.storage.locks.maintenance import clear, clearable
from tests.unit.storage.locks.conftest import DEADLINE_S, LOST, wait_until

pytestmark = pytest.mark.system

BEAT_S, STALE_S = 0.1, 3.0


@pytest.fixture
def bucket(s3):
    return Bucket.at(s3.new_prefix())


@pytest.fixture
def folder(bucket, tmp_path):
    write_text(tmp_path / "shared.yaml", f"heartbeat_s: {BEAT_S}\nstale_after_s: {STALE_S}\ns3: {bucket.url}\n")
    return tmp_path


def new(bucket, name="place", stale_after_s=STALE_S):
    return Lease(bucket, name, BEAT_S, stale_after_s, "testing")


def test_each_acquisition_has_a_larger_number_than_all_before(bucket):
    numbers = []
    for mode in ("write", "read", "write"):
        held = new(bucket)
        assert held.acquire(mode, 0)
        numbers.append(held.fence)
        held.close()
    assert numbers == [1, 2, 3]


def test_eight_at_once_have_one_holder(bucket):
    leases, took = [new(bucket) for _ in range(8)], []
    threads = [threading.Thread(target=lambda each=each: took.append(each.acquire("write", 0))) for each in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    for each in leases:
        each.close()
    assert sorted(took) == [False] * 7 + [True]


def test_a_holder_without_beats_is_replaced_and_told(folder, other_process):
    other = other_process()
    os.kill(other.pid, signal.SIGSTOP)
    with hold(folder, "place", "write", timeout_s=DEADLINE_S):
        os.kill(other.pid, signal.SIGCONT)
        assert other.let_go() == LOST


def test_a_clock_that_is_minutes_wrong_costs_no_lock(bucket, monkeypatch):
    """Wall clocks are only shown to people; neither the holder's nor that of who waits decides anything."""
    held, waits = new(bucket, stale_after_s=60), new(bucket, stale_after_s=60)
    assert held.acquire("write", 0)
    real = time.time
    for wrong_s in (300, -300):
        monkeypatch.setattr(time, "time", lambda wrong_s=wrong_s: real() + wrong_s)
        assert not waits.acquire("write", 0.5)
        assert held.is_kept()
    held.close()
    assert waits.acquire("write", DEADLINE_S)
    waits.close()


def test_time_in_which_nobody_could_look_does_not_count(bucket, monkeypatch):
    """As when the server was away for longer than a holder's time: it could not beat, and is not dead."""
    held, waits = new(bucket), new(bucket)
    assert held.acquire("write", 0)
    monkeypatch.setattr(held, "_renew", lambda _holders: True)  # its beats change nothing any more
    assert not waits.acquire("write", 0)
    clock = time.monotonic()
    monkeypatch.setattr(lease.time, "monotonic", lambda: clock + 100)
    assert not waits.acquire("write", 0)
    held.close()


def test_holders_in_the_bucket_are_listed_and_dead_ones_cleared(bucket, folder, other_process):
    other = other_process("named/team/labels")
    (living,) = holders(folder)
    assert (living.lock, living.pid, living.alive) == ("named/team/labels", other.pid, True)
    with pytest.raises(StorageError, match="Nothing was cleared, because these may be at work"):
        clearable(folder, ["named/team/labels"])
    other.kill()
    wait_until(lambda: holders(folder)[0].alive is False, "the lock is shown as dead")
    assert [each.pid for each in clear(folder)] == [other.pid]
    assert holders(folder) == []
    with hold(folder, "named/team/labels", "write", timeout_s=0):
        pass


def test_force_takes_a_lock_from_a_living_holder_who_is_told(folder, other_process):
    other = other_process()
    assert [each.pid for each in clear(folder, ["place"], force=True)] == [other.pid]
    with hold(folder, "place", "write", timeout_s=DEADLINE_S):
        assert other.let_go() == LOST


def test_a_damaged_lock_names_its_object(bucket, folder):
    bucket.put("locks/place.lock", b'{"fence": "many"}')
    with pytest.raises(StorageError, match=r"locks/place.lock: 'fence': .* \(got 'many'\)"):
        hold(folder, "place", "write").__enter__()


def test_a_lock_that_is_not_free_says_who_has_it(folder):
    held = hold(folder, "place", "write", "splits of ab12")
    with held, pytest.raises(InUseError, match=r"by process \d+ on .* splits of ab12 \("):
        hold(folder, "place", "read", timeout_s=0).__enter__()
