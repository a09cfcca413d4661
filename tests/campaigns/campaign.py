"""What the campaigns share: trying many hostile inputs in a child process, and the table of what failed.

A campaign is a module with a function that tries one input, chosen by a seed. ``python -m tests.campaigns.NAME --seed S
--count N`` tries the seeds S to S + N - 1, prints how many inputs of each kind were tried, how many failed, and the
slowest, and exits with 1 if one failed. The tests of the suites call ``try_seeds`` with fewer seeds.

An input may crash or hang the process that reads it, so a child process reads them. When it dies, or does not answer
before a deadline, this is recorded for the seed, and another child goes on with the next one.

Belongs here: running and reporting. Does not belong here: inputs, and what is wrong about an outcome.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from assay.utils.text import text_table


@dataclass(frozen=True)
class Tried:
    """What came of one input.

    Attributes:
        kind: Kind of the input, by which the table counts.
        problem: What was wrong; empty if nothing was.
    """

    kind: str
    problem: str = ""


Attempt = Callable[[int], Tried]
"""Tries the input of a seed; an exception that it lets out is a failure, too. It must be a module's own function."""


@dataclass(frozen=True)
class Outcome:
    """One line of the record.

    Attributes:
        seed: Seed of the input.
        kind: Kind of the input; ``unknown`` if the child died before it could tell.
        problem: What was wrong; empty if nothing was.
        seconds: Duration, in seconds.
        grown_mb: By how much the child's largest memory grew, in MB.
    """

    seed: int
    kind: str
    problem: str
    seconds: float
    grown_mb: float = 0.0


def try_seeds(
    attempt: Attempt,
    seeds: Sequence[int],
    deadline_s: float = 20.0,
    most_mb: int | None = None,
    tell: Callable[[Outcome], object] | None = None,
) -> list[Outcome]:
    """Try the inputs of some seeds, one after the other, in a child process.

    Args:
        attempt: Tries one of them.
        seeds: The seeds.
        deadline_s: The child is killed when one input takes longer, in seconds.
        most_mb: Address space that the child may add to what it has after starting, in MB; None for no limit. Set it
            only where no threads are started, because every thread reserves some.
        tell: Called with each outcome as soon as it is there.
    """
    outcomes: list[Outcome] = []
    while pending := list(seeds)[len(outcomes) :]:
        for outcome in _until_death(attempt, pending, deadline_s, most_mb):
            outcomes.append(outcome)
            if tell is not None:
                tell(outcome)
    return outcomes


def _until_death(attempt: Attempt, seeds: Sequence[int], deadline_s: float, most_mb: int | None) -> Iterator[Outcome]:
    """Yield the outcomes up to and including the first input that ends the child."""
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may wait for ever
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(there, attempt, list(seeds), most_mb), daemon=True)
    child.start()
    there.close()
    try:
        here.recv()  # it has started: importing is not part of an input's time
        for seed in seeds:
            started = time.perf_counter()
            if not here.poll(deadline_s):
                yield Outcome(seed, "unknown", f"no answer in {deadline_s:g} s", deadline_s)
                return
            try:
                outcome = here.recv()
            except EOFError:
                child.join(deadline_s)
                reason = f"the process died (exit code {child.exitcode})"
                yield Outcome(seed, "unknown", reason, time.perf_counter() - started)
                return
            yield outcome
    finally:
        here.close()
        child.kill()
        child.join()


def _work(parent: Connection, attempt: Attempt, seeds: Sequence[int], most_mb: int | None) -> None:
    if most_mb is not None:
        limit = _address_space() + most_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    parent.send("ready")
    for seed in seeds:
        before, started = _largest_kb(), time.perf_counter()
        try:
            tried = attempt(seed)
        except BaseException as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {str(error)[:200]} ({place.filename}:{place.lineno})"
            tried = Tried("unknown", f"raised {text}")
        seconds, grown_mb = time.perf_counter() - started, (_largest_kb() - before) / 1024
        parent.send(Outcome(seed, tried.kind, tried.problem, seconds, grown_mb))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _largest_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """Return one line per failure, for the message of a test."""
    return [f"seed {each.seed}, {each.kind}: {each.problem}" for each in outcomes if each.problem]


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return one line per kind of input: how many were tried, how many failed, the slowest, and its seed."""
    rows = []
    for kind in sorted({each.kind for each in outcomes}):
        same = [each for each in outcomes if each.kind == kind]
        slowest = max(same, key=lambda each: each.seconds)
        failed = sum(bool(each.problem) for each in same)
        grown = max(each.grown_mb for each in same)
        rows.append([kind, str(len(same)), str(failed), f"{slowest.seconds:.3f}", str(slowest.seed), f"{grown:.0f}"])
    header = ["kind", "tried", "failed", "slowest (s)", "its seed", "memory (MB)"]
    return text_table(header, rows, right=frozenset(header[1:]))


class Progress:
    """Says on standard error, every half minute, how far a campaign is."""

    def __init__(self, count: int, every_s: float = 30.0) -> None:
        self._count, self._every_s = count, every_s
        self._tried = self._failed = 0
        self._started = self._told = time.monotonic()

    def __call__(self, outcome: Outcome) -> None:
        self._tried += 1
        self._failed += bool(outcome.problem)
        now = time.monotonic()
        if now >= self._told + self._every_s:
            self._told = now
            left_s = (now - self._started) / self._tried * (self._count - self._tried)
            rest = f"about {left_s / 60:.0f} min left"
            print(
                f"{self._tried:,} of {self._count:,} tried, {self._failed} failed, {rest}", file=sys.stderr, flush=True
            )


def command(
    attempt: Attempt, count: int, arguments: Sequence[str] | None = None, shown: int = 20, **limits: Any
) -> None:
    """Run a campaign as a program; exits with 1 if an input failed.

    Args:
        attempt: Tries one input.
        count: Number of inputs, unless the command line says otherwise.
        arguments: Arguments of the command line; None for the process's own.
        shown: How many failures are printed.
        limits: See ``try_seeds``.
    """
    parser = argparse.ArgumentParser(description=sys.modules[attempt.__module__].__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the others follow it")
    parser.add_argument("--count", type=int, default=count, help=f"how many seeds are tried; {count} when left out")
    chosen = parser.parse_args(arguments)
    tell = Progress(chosen.count)
    outcomes = try_seeds(attempt, range(chosen.seed, chosen.seed + chosen.count), tell=tell, **limits)
    failed = [each for each in outcomes if each.problem]
    print("\n".join(table(outcomes)))
    print(f"{len(outcomes)} inputs, {len(failed)} failures")
    for each in failed[:shown]:
        print(f"- {each.kind}: {each.problem}\n  again: --seed {each.seed} --count 1")
    sys.exit(bool(failed))
