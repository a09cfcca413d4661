"""Campaigns notice every way in which an input can fail: an answer, an exception, a crash, a hang."""

import os
import signal
import time

import pytest

from tests.campaigns.campaign import Tried, command, failures, table, try_seeds

pytestmark = pytest.mark.system

KINDS = ("good", "wrong", "raises", "crashes", "good again")


def attempt(seed):
    kind = KINDS[seed % len(KINDS)]
    if kind == "raises":
        raise KeyError("lost")
    if kind == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    return Tried(kind, "not what was expected" if kind == "wrong" else "")


def hang(seed):
    if seed == 1:
        time.sleep(600)
    return Tried("fast")


def remember(seed):
    return Tried("large", "" if len(bytearray(10**9)) else "never")


def test_every_failure_has_its_seed_and_the_others_go_on():
    outcomes = try_seeds(attempt, range(5))
    assert [each.seed for each in outcomes] == [0, 1, 2, 3, 4]
    assert [bool(each.problem) for each in outcomes] == [False, True, True, True, False]
    assert "KeyError" in outcomes[2].problem
    assert "died" in outcomes[3].problem
    assert len(failures(outcomes)) == 3
    assert len(table(outcomes)) == 5


def test_what_hangs_is_killed_and_counted():
    outcomes = try_seeds(hang, range(3), deadline_s=3)
    assert [each.problem for each in outcomes] == ["", "no answer in 3 s", ""]


def test_memory_is_bounded():
    (outcome,) = try_seeds(remember, [0], most_mb=100)
    assert "MemoryError" in outcome.problem


def test_a_failure_is_the_exit_code_and_says_how_to_repeat_it(capsys):
    with pytest.raises(SystemExit) as caught:
        command(attempt, count=1, arguments=["--seed", "6"])
    assert caught.value.code == 1
    assert "again: --seed 6 --count 1" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        command(attempt, count=1, arguments=[])
    assert caught.value.code == 0
