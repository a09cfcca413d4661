"""From saving a file to its run, and to its results, under the real daemon; `assay run` of the same work beside it."""

import tempfile
import time
from pathlib import Path
from statistics import median

import dagster as dg

from benchmarks.dagster_processes import Daemon, wait_for
from benchmarks.launching import spec
from benchmarks.rows import Row, at_most

SAVES, ALONE = 6, 3
UNEVEN_S = 4.0
"""Between saves, so that they fall on different moments between two looks."""


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` saves once, to see that it runs."""
    count = 1 if quick else SAVES
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder))
        with daemon.running(automation=True) as instance:
            daemon.write("warm", **spec(daemon, 0))
            follow(instance, "warm", time.time())
            waits, works = [], []
            for number in range(1, count + 1):
                time.sleep(UNEVEN_S)
                daemon.write(f"x{number}", **spec(daemon, number))
                started, ended = follow(instance, f"x{number}", saved := time.time())
                waits.append(started - saved)
                works.append(ended - started)
        alone_s = median(alone(daemon, number) for number in range(1 if quick else ALONE))
    work_s, looks = median(works), "looks are 15 s apart, whatever the machine is"
    return [
        Row("save to start of the run, median", median(waits), target=at_most(11.5), note=looks),
        Row("save to start of the run, longest", max(waits), target=at_most(18.0), note=f"{count} saves"),
        Row("start to end of the run, median", work_s, note="training anew, data found"),
        Row("the same work by `assay run`, median", alone_s, note="with the start of its process"),
        Row("start to end of the run, share of `assay run`", work_s / alone_s, "x", at_most(0.5)),
    ]


def alone(daemon: Daemon, number: int) -> float:
    """Return what `assay run` takes for one more experiment that differs in training only, in seconds."""
    name = f"alone{number}"
    daemon.write(name, **spec(daemon, 900 + number))
    return daemon.time("assay", "run", name).wall_s


def follow(instance: dg.DagsterInstance, name: str, saved: float) -> tuple[float, float]:
    """Wait for the one run of an experiment; returns when it started and ended, in seconds since the epoch."""
    (record,) = wait_for(instance, dg.RunsFilter(tags={"dagster/partition": name}), 1, timeout_s=180)
    assert record.start_time is not None
    assert record.end_time is not None
    assert record.start_time > saved
    return record.start_time, record.end_time
