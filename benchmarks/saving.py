"""From saving a file to its run, and to its results, under the real daemon; `assay run` of the same work beside it.

``python -m benchmarks.run saving``.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg

from benchmarks.dagster_processes import Daemon, wait_for
from benchmarks.launching import spec
from benchmarks.rows import row

SAVES = 6
UNEVEN_S = 4.0
"""Between saves, so that they fall on different moments between two looks."""


def run(quick: bool = False) -> list[dict[str, Any]]:
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
        daemon.write("alone", **spec(daemon, 999))
        alone = daemon.time("assay", "run", "alone").wall_s
    return [
        row("save to start of the run, median", median(waits), None),
        row("save to start of the run, longest", max(waits), 35.0, f"{count} saves; looks are 15 s apart"),
        row("start to end of the run, median", median(works), None, "training anew, data found", floor=alone),
        row("the same work by `assay run`, process start included", alone, None),
    ]


def follow(instance: dg.DagsterInstance, name: str, saved: float) -> tuple[float, float]:
    """Wait for the one run of an experiment; returns when it started and ended, in seconds since the epoch."""
    (record,) = wait_for(instance, dg.RunsFilter(tags={"dagster/partition": name}), 1, timeout_s=180)
    assert record.start_time is not None
    assert record.end_time is not None
    assert record.start_time > saved
    return record.start_time, record.end_time
