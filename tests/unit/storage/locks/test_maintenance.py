"""Clearing: what died is forgotten, who lives is respected, and force is honest about what it does."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from assay.errors import StorageError
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import holders
from assay.storage.locks.maintenance import clear, clearable
from tests.unit.storage.locks.conftest import DEADLINE_S

pytestmark = pytest.mark.system


def test_without_names_only_the_dead_are_forgotten(tmp_path, other_process):
    dead, living = other_process("a"), other_process("b")
    dead.kill()
    assert [each.pid for each in clear(tmp_path)] == [dead.pid]
    assert [each.pid for each in holders(tmp_path)] == [living.pid]
    assert clear(tmp_path) == []


def test_a_living_holder_is_refused_and_named_and_nothing_else_is_cleared(tmp_path, other_process):
    other_process("named/a").kill()
    living = other_process("named/b")
    with pytest.raises(
        StorageError, match=rf"Nothing was cleared.*\n.*named/b by process {living.pid}.*\n.*kill {living.pid}"
    ):
        clear(tmp_path, ["named/*"])
    assert len(holders(tmp_path)) == 2


def test_names_and_patterns_choose(tmp_path, other_process):
    for name in ("named/a", "named/b", "crops/c"):
        other_process(name).kill()
    assert [each.lock for each in clearable(tmp_path, ["named/*"])] == ["named/a", "named/b"]
    assert [each.lock for each in clear(tmp_path, ["named/b", "crops/c"])] == ["crops/c", "named/b"]
    assert clear(tmp_path, ["crops/*"]) == []


def test_a_name_that_nobody_holds_lists_those_that_are_held(tmp_path, other_process):
    other_process("named/labels")
    with pytest.raises(StorageError, match=r"'named/label' does not exist. Did you mean 'named/labels'"):
        clear(tmp_path, ["named/label"])


def test_force_needs_names(tmp_path):
    with pytest.raises(StorageError, match="say which"):
        clear(tmp_path, force=True)


def test_by_force_the_next_one_and_those_who_wait_go_on_while_the_holder_works(tmp_path, other_process):
    other, waiting = other_process(), Event()
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(_wait, tmp_path, waiting)
        assert waiting.wait(DEADLINE_S)
        assert [each.pid for each in clear(tmp_path, ["place"], force=True)] == [other.pid]
        with hold(tmp_path, "place", "write", timeout_s=DEADLINE_S):
            assert [each.pid for each in holders(tmp_path)] == [os.getpid()]
        assert waits.result(timeout=DEADLINE_S) == "worked"
    assert other.let_go() == 0
    with hold(tmp_path, "place", "write", timeout_s=1):
        pass


def _wait(folder, waiting):
    with hold(folder, "place", "write", timeout_s=DEADLINE_S, waiting=lambda _: waiting.set()):
        return "worked"
