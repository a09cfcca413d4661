"""Locks under contention: processes that read and write one place, each with a witness that nobody else is there."""

import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from assay.spec.yaml_text import to_yaml
from assay.storage.files import write_text
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import Heartbeat, heartbeat_of
from benchmarks.rows import Row, Target, at_least, at_most

SERVER = multiprocessing.get_context("forkserver")
"""Processes forked by one that has no threads: a copy of this one might wait for ever for a thread that it lacks."""
PROCESSES, ACQUISITIONS, WRITE_SHARE = 8, 6_250, 0.5
SHARED_ACQUISITIONS = 100
"""Of each process on a shared file system, where every step of a lock is a file."""

Lock = Callable[..., AbstractContextManager[None]]


@dataclass(frozen=True)
class Told:
    """What processes saw that took one lock again and again.

    Attributes:
        acquisitions: How often they had it.
        violations: How often somebody was there who must not be.
        wall_s: How long all took.
    """

    acquisitions: int
    violations: int
    wall_s: float


def contend(
    folder: Path, processes: int, acquisitions: int, write_share: float, taken: Lock = hold, stays_s: float = 0.0
) -> Told:
    """Let processes take the lock ``place`` in ``folder/locks``; each enters ``folder/witness`` while it has it.

    The longer they stay there, the surer two meet that a lock should have kept apart.
    """
    (folder / "witness").mkdir()
    work = partial(_enter_often, folder, acquisitions, write_share, taken, stays_s)
    started = time.perf_counter()
    # The process that is forked may be older than variables that a lock needs.
    with SERVER.Pool(processes, _set_variables, (dict(os.environ),)) as pool:
        told = pool.map(work, range(processes), chunksize=1)
        pool.close()
        pool.join()  # leaving the block ends processes by SIGTERM, which some shells let their children ignore
    wall_s = time.perf_counter() - started
    return Told(sum(entered for entered, _ in told), sum(violations for _, violations in told), wall_s)


def _set_variables(variables: dict[str, str]) -> None:
    os.environ.update(variables)


def _enter_often(
    folder: Path, acquisitions: int, write_share: float, taken: Lock, stays_s: float, seed: int
) -> tuple[int, int]:
    draw, violations = random.Random(seed), 0
    for _ in range(acquisitions):
        mode, enter = ("write", meets_as_writer) if draw.random() < write_share else ("read", meets_as_reader)
        with taken(folder / "locks", "place", mode, "testing"):
            violations += enter(folder / "witness", stays_s)
    return acquisitions, violations


def no_lock(*_: object) -> AbstractContextManager[None]:
    """Stand in for a lock that keeps nobody out, to see that the witness sees it."""
    return nullcontext()


def meets_as_writer(witness: Path, stays_s: float = 0.0) -> bool:
    """Enter as a writer; returns whether anybody else was there, or came."""
    try:
        os.close(os.open(witness / "writer", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    time.sleep(stays_s)
    met = [path.name for path in witness.iterdir()] != ["writer"]
    (witness / "writer").unlink(missing_ok=True)
    return met


def meets_as_reader(witness: Path, stays_s: float = 0.0) -> bool:
    """Enter as a reader; returns whether a writer was there, or came."""
    own = witness / f"reader-{os.getpid()}"
    own.touch()
    time.sleep(stays_s)
    met = (witness / "writer").exists()
    own.unlink()
    return met


def seconds_after_death(folder: Path) -> float:
    """Return how long a lock is taken after its holder was killed."""
    ready, told = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_hold_until_killed, args=(folder, told))
    process.start()
    ready.recv()
    process.kill()
    killed = time.perf_counter()
    with hold(folder, "killed", "write"):
        waited_s = time.perf_counter() - killed
    process.join()
    return waited_s


def _hold_until_killed(folder: Path, told: Any) -> None:
    with closing(told), hold(folder, "killed", "write"):
        told.send("ready")
        time.sleep(600)


def each(count: int, work: Callable[[], Any]) -> float:
    """Return how long one of many calls takes, in seconds."""
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


def take(folder: Path) -> None:
    with hold(folder, "own", "read"):
        pass


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few locks, to see that it runs."""
    with tempfile.TemporaryDirectory() as name:
        return [*_local(Path(name) / "local", quick), *_shared(Path(name) / "shared", quick)]


def _local(folder: Path, quick: bool) -> list[Row]:
    (folder / "without").mkdir(parents=True)
    acquisitions = 50 if quick else ACQUISITIONS
    told = contend(folder, PROCESSES, acquisitions, WRITE_SHARE)
    without = contend(folder / "without", PROCESSES, acquisitions // 10, WRITE_SHARE, no_lock)
    alone_s = each(20 if quick else 1000, partial(take, folder / "locks"))
    deaths = 1 if quick else 10
    free_s = max(seconds_after_death(folder / "locks") for _ in range(deaths))
    return [
        _violations("one machine", told, at_most(0)),
        _violations("none at all, to try the witness", without, at_least(1)),
        *_times("one machine", told, 0.0016, alone_s, 0.0009),
        _free("one machine", free_s, at_most(0.02, of="machine"), f"longest of {deaths}"),
    ]


def _shared(folder: Path, quick: bool) -> list[Row]:
    short = {"heartbeat_s": 0.5, "stale_after_s": 2.0} if quick else {}
    write_text(folder / "locks" / "shared.yaml", to_yaml(Heartbeat(**short).model_dump()))
    told = contend(folder, PROCESSES, 5 if quick else SHARED_ACQUISITIONS, WRITE_SHARE)
    alone_s = each(5 if quick else 200, partial(take, folder / "locks"))
    heartbeat = heartbeat_of(folder / "locks")
    assert heartbeat is not None
    note = (
        f"heartbeat every {heartbeat.heartbeat_s:g} s, stale after {heartbeat.stale_after_s:g} s, whatever the machine"
    )
    return [
        _violations("shared file system", told, at_most(0)),
        *_times("shared file system", told, 0.026, alone_s, 0.01, "on a local disk"),
        _free(
            "shared file system",
            seconds_after_death(folder / "locks"),
            at_most(heartbeat.stale_after_s + heartbeat.heartbeat_s),
            note,
        ),
    ]


def _violations(where: str, told: Told, target: Target) -> Row:
    note = f"{PROCESSES} processes, {told.acquisitions} acquisitions, half of them to write, with an O_EXCL witness"
    return Row(f"locks, {where}: entries while another was there", told.violations, "entries", target, note=note)


def _times(where: str, told: Told, most_s: float, alone_s: float, most_alone_s: float, note: str = "") -> list[Row]:
    """Return the time of one of many acquisitions at once, and of one with nobody else there."""
    each_s, rate = told.wall_s / told.acquisitions, told.acquisitions / told.wall_s
    one, alone = "one of these acquisitions", "taken and released, nobody else there"
    rates = f"{rate:.0f} acquisitions per second, all wanting the same lock"
    return [
        Row(f"locks, {where}: {one}", each_s, target=at_most(most_s, of="machine"), note=rates),
        Row(f"locks, {where}: {alone}", alone_s, target=at_most(most_alone_s, of="machine"), note=note),
    ]


def _free(where: str, seconds: float, target: Target, note: str) -> Row:
    return Row(f"locks, {where}: free after the holder was killed", seconds, target=target, note=note)
