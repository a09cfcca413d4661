"""The command ``run``: executes a job for one experiment in this process.

This is the one place in the package that looks downstream, at the Dagster definitions, and only when it is called.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from assay.cli.places import spec_files


def run(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    job: Annotated[str, typer.Option(help="job_experiment, job_data_generation or job_train")] = "job_experiment",
) -> None:
    """Materialize an experiment, with a line of progress per stage; what exists already is reused."""
    spec = spec_files().load(experiment_id)  # a wrong spec is told before anything heavy is imported
    with rare_garbage_collection():
        from assets.launch import run_experiment

        succeeded = run_experiment(experiment_id, spec, job)
    if not succeeded:
        raise typer.Exit(1)


@contextmanager
def rare_garbage_collection() -> Iterator[None]:
    """Look for garbage rarely in the block, and never again after it.

    Importing Dagster and torch makes a million objects that live as long as this short process. Going through them at
    every 700th new object costs 0.6 s of a run, and once more at the end of the process 0.9 s [measured].
    """
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        gc.freeze()
        gc.disable()
