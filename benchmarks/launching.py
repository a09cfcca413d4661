"""What a run and a sweep cost under the daemon beyond their work, with our launcher and with Dagster's own."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg

from assay.backfills.dagster_server import AssetPath, load_workspace
from assay.backfills.launch import needed_assets
from assay.experiments.contents import stage_results
from assay.pipeline import stage_config
from assay.spec.loading import load_spec
from assay.stages.trained_model import train
from benchmarks.dagster_processes import Daemon, RunTimes, medians, times_of, wait_for
from benchmarks.rows import Row, at_most

JOB = "job_experiment"
DATA_STAGES = ("generated_images", "splits", "tabular", "normalized")
SINGLE_RUNS, SWEEP = 6, 20
"""With either launcher: a sweep's seconds per experiment contain the wait for the daemon's first look."""
MOST_OF_STOCK = {"run": 0.8, "sweep": 0.6}
"""Largest share of what the same takes with Dagster's own launcher."""


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few experiments, to see that it runs."""
    singles, size = (1, 4) if quick else (SINGLE_RUNS, SWEEP)
    with project(own_launcher=False) as (daemon, instance):
        stock = Costs(single_runs(daemon, instance, singles), sweep(daemon, instance, size))
    with project(own_launcher=True) as (daemon, instance):
        ours = Costs(single_runs(daemon, instance, singles), sweep(daemon, instance, size))
    return rows_of(ours, stock, size)


def rows_of(ours: "Costs", stock: "Costs", size: int) -> list[Row]:
    """Return what both launchers cost, and the share that ours is of the other."""
    single, sweeping = "a run with nothing to do", f"sweep of {size}, seconds per experiment beyond training"
    rows = []
    for launcher, costs in (("ours", ours), ("Dagster's own", stock)):
        rows.append(Row(f"{single}, launcher: {launcher}", costs.single.total, note=where(costs.single)))
        rows.append(Row(f"{sweeping}, launcher: {launcher}", costs.sweep.beyond_s, note=costs.sweep.note))
    shares = {"run": ours.single.total / stock.single.total, "sweep": ours.sweep.beyond_s / stock.sweep.beyond_s}
    return [
        *rows,
        Row(f"{single}, share of Dagster's own launcher", shares["run"], "x", at_most(MOST_OF_STOCK["run"])),
        Row(f"{sweeping}, share of Dagster's own launcher", shares["sweep"], "x", at_most(MOST_OF_STOCK["sweep"])),
    ]


@dataclass(frozen=True)
class Swept:
    """What a sweep costs.

    Attributes:
        beyond_s: Seconds per experiment, without those of the training alone.
        note: Where the time went.
    """

    beyond_s: float
    note: str


@dataclass(frozen=True)
class Costs:
    """What one launcher costs: a run with nothing to do, and a sweep."""

    single: RunTimes
    sweep: Swept


@contextmanager
def project(own_launcher: bool) -> Iterator[tuple[Daemon, dg.DagsterInstance]]:
    """Give a daemon that has worked already: its first runs are not what a user waits for all day."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), own_launcher)
        daemon.write("warm", **spec(daemon, 0))
        with daemon.running() as instance:
            for _ in range(2):
                run_one(daemon, instance)
                time.sleep(8)  # meanwhile the template has loaded
            yield daemon, instance


def spec(daemon: Daemon, number: int) -> dict[str, Any]:
    """Return an experiment on 200 rows; those with other numbers than 0 differ in their learning rates only."""
    table = daemon.folder / ("sweep.csv" if number else "rows.csv")
    if not table.exists():
        shift = min(number, 1)
        rows = (f"{i % 17},{i % 5},{i % 17 + 2 * (i % 5) + shift}" for i in range(200))
        table.write_text("\n".join(["a,b,y", *rows, ""]))
    return {
        "task": "regression",
        "generated_images": {"source": {"kind": "table", "path": str(table), "target_column": "y"}},
        "trained_model": {"train_params": {"epochs": 20}, "learner": {"learning_rate": 1e-3 * (1 + number / 50)}},
    }


def run_all(daemon: Daemon, instance: dg.DagsterInstance, names: list[str]) -> list[dg.RunRecord]:
    """Run experiments by one backfill, and wait for all of them."""
    backfill_id = daemon.backfill(assets_of(daemon, names[0]), names)
    wanted = dg.RunsFilter(tags={"dagster/backfill": backfill_id})
    return wait_for(instance, wanted, len(names), timeout_s=120 + 30 * len(names))


def run_one(daemon: Daemon, instance: dg.DagsterInstance) -> RunTimes:
    """Run the experiment ``warm``."""
    return daemon.run_one(instance, JOB, assets_of(daemon, "warm"), "warm")


def assets_of(daemon: Daemon, name: str) -> list[AssetPath]:
    found = load_spec(daemon.folder / "experiments" / f"{name}.yaml")
    return needed_assets(load_workspace(daemon.server).assets_of(JOB), [found])


def single_runs(daemon: Daemon, instance: dg.DagsterInstance, count: int) -> RunTimes:
    """Run one experiment again and again: all is found, so that everything is overhead."""
    return medians([run_one(daemon, instance) for _ in range(count)])


def where(times: RunTimes) -> str:
    """Tell where a run's time went."""
    return (
        f"queue {times.queue:.2f}, process {times.process:.2f}, load {times.load:.2f}, "
        f"steps {times.steps:.2f} s with {times.events:.0f} events"
    )


def sweep(daemon: Daemon, instance: dg.DagsterInstance, count: int) -> Swept:
    """Run experiments that differ in training only, two at a time."""
    names = [f"x{number}" for number in range(1, count + 1)]
    for number, name in enumerate(names, start=1):
        daemon.write(name, **spec(daemon, number))
    started = time.perf_counter()
    runs = run_all(daemon, instance, names)
    wall_s = time.perf_counter() - started
    training_s = training_alone(daemon, names[0])
    built = {stage: results(daemon, stage) - 1 for stage in (*DATA_STAGES, "trained_model")}  # without "warm"
    assert built == {**dict.fromkeys(DATA_STAGES, 1), "trained_model": count}, built
    times = medians([times_of(instance, run.dagster_run.run_id) for run in runs])
    note = f"wall {wall_s:.0f} s, training alone {training_s:.2f} s; each data stage built once; {where(times)}"
    return Swept(wall_s / count - training_s, note)


def results(daemon: Daemon, stage: str) -> int:
    """Count the results that a stage has in the store."""
    return len([path for path in (daemon.folder / "storage").glob(f"*/{stage}/*") if (path / "manifest.json").exists()])


def training_alone(daemon: Daemon, name: str) -> float:
    """Return the seconds of one training in this process, after one that loaded torch."""
    part = stage_config(load_spec(daemon.folder / "experiments" / f"{name}.yaml"), name, "trained_model")
    data = stage_results(daemon.folder / "storage", name)["normalized"]
    seconds = []
    for _ in range(4):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            train(part, data, None, Path(folder))
            seconds.append(time.perf_counter() - started)
    return median(seconds[1:])
