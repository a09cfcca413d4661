"""What is said of holders: ages and states in words, and notes that nobody can read."""

import json
import os
import socket
from datetime import UTC, datetime

import pytest

from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import Holder, age_of, describe, holders, state_of
from assay.storage.locks.maintenance import clear


def holder(tmp_path, **values):
    known = {"lock": "place", "mode": "read", "host": "here", "pid": 1, "since": "2026-01-02T03:04:05+00:00"}
    return Holder(**{**known, "purpose": "", "alive": True, "path": tmp_path, **values})


@pytest.mark.parametrize(
    ("hour", "minute", "second", "words"),
    [(3, 4, 5, "0 s"), (3, 6, 4, "119 s"), (3, 7, 5, "3 min"), (6, 4, 5, "3 h"), (3, 4, 0, "0 s")],
)
def test_an_age_has_one_unit(tmp_path, hour, minute, second, words):
    assert age_of(holder(tmp_path), datetime(2026, 1, 2, hour, minute, second, tzinfo=UTC)) == words


def test_an_old_age_is_in_days(tmp_path):
    assert age_of(holder(tmp_path), datetime(2026, 1, 5, 3, 4, 5, tzinfo=UTC)) == "3 days"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alive": True}, "running"),
        ({"alive": False}, "dead"),
        ({"alive": None}, "on another machine"),
        ({"alive": True, "silent_s": 2.0}, "running"),
        ({"alive": False, "silent_s": 200.0}, "no heartbeat for 3 min"),
    ],
)
def test_the_state_says_how_far_it_can_be_told(tmp_path, values, words):
    assert state_of(holder(tmp_path, **values)) == words


def test_a_holder_on_another_machine_may_live(tmp_path):
    note = {"mode": "write", "host": f"not-{socket.gethostname()}", "pid": 5, "since": "2026-01-02T03:04:05+00:00"}
    (tmp_path / "place.lock.abc.holder").write_text(json.dumps({**note, "purpose": "", "new": "key"}))
    (found,) = holders(tmp_path)
    assert (found.alive, found.pid, found.lock) == (None, 5, "place")


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_note_that_a_power_cut_took_is_of_somebody_dead(tmp_path, text):
    (tmp_path / "place.lock.abc.holder").write_text(text)
    (found,) = holders(tmp_path)
    assert (found.alive, found.purpose) == (False, "a note that can't be read")
    assert "(dead)" in describe(found)
    assert clear(tmp_path) == [found]
    assert holders(tmp_path) == []


@pytest.mark.parametrize(
    "keys", [{"since": "yesterday"}, {"since": 5}, {"since": "2026-01-02"}, {"pid": "5"}, {"record": "../../x"}]
)
def test_a_note_of_other_types_stops_no_list(tmp_path, keys):
    note = {"mode": "write", "host": "h", "pid": 5, "since": "2026-01-02T03:04:05+00:00", "purpose": ""}
    (tmp_path / "place.lock.abc.holder").write_text(json.dumps({**note, "stale_after_s": 20, **keys}))
    with hold(tmp_path, "other", "read"):
        assert [found.lock for found in holders(tmp_path)] == ["other", "place"]
        assert "a note that can't be read" in describe(holders(tmp_path)[1])


def test_a_pipe_that_looks_like_a_note_lets_nobody_wait(tmp_path):
    os.mkfifo(tmp_path / "place.lock.abc.holder")
    assert [found.lock for found in holders(tmp_path)] == ["place"]


def test_holders_are_sorted_and_one_lock_is_found_by_its_name_alone(tmp_path):
    with hold(tmp_path, "b", "read"), hold(tmp_path, "a/c", "write"), hold(tmp_path, "b.lock.x", "read"):
        assert [found.lock for found in holders(tmp_path)] == ["a/c", "b", "b.lock.x"]
        assert [found.lock for found in holders(tmp_path, "a/c")] == ["a/c"]
        assert [found.lock for found in holders(tmp_path, "b")] == ["b"]
    assert holders(tmp_path, "b") == []
    assert holders(tmp_path / "nowhere") == holders(tmp_path / "nowhere", "b") == []
