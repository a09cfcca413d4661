"""The command ``run``: executes a job for one experiment in this process.

This is the one place in the package that looks downstream, at the Dagster definitions, and only when it is called.
"""

import gc
from typing import Annotated

import typer

from assay.cli.places import spec_files


def run(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    job: Annotated[
        str, typer.Option(help="job_experiment, job_data_generation, job_train or job_eval")
    ] = "job_experiment",
) -> None:
    """Materialize an experiment, with a line of progress per stage; what exists already is reused."""
    spec = spec_files().load(experiment_id)  # a wrong spec is told before anything heavy is imported
    # Importing Dagster and torch makes a million objects that live as long as this short process: going through them
    # at every 700th new object costs 0.6 s of a run.
    gc.set_threshold(100_000, 20, 20)

    from assets.launch import run_experiment

    if not run_experiment(experiment_id, spec, job):
        raise typer.Exit(1)
