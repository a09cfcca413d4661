"""The command ``eval``: a new experiment that evaluates the model of an existing one."""

from typing import Annotated

import typer

from assay.cli.places import spec_files
from assay.cli.specs import parse_setting
from assay.experiments.adoption import KEY, find_evaluated
from assay.spec.existing_experiment import ExistingExperiment
from assay.spec.loading import merged


def evaluate(
    source: Annotated[str, typer.Argument(help="ID of the experiment whose model is evaluated")],
    location: Annotated[
        str | None, typer.Option("--from", help="name of the location that has it; this storage if left out")
    ] = None,
    experiment_id: Annotated[str | None, typer.Option("--id", help="your own ID; invented when left out")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value of what is to be other data, such as source.path=new-images"),
    ] = None,
) -> None:
    """Create an experiment that evaluates an existing one's model, on its data or on others, and print its ID."""
    store = spec_files()
    wanted = ExistingExperiment(experiment_id=source, location=location)
    found = find_evaluated(store.locations, wanted)
    values = {
        "task": found.task,
        "description": f"Evaluation of {source}{f' at {location}' if location else ''}.",
        KEY: wanted.model_dump(exclude_none=True) if location else source,
    }
    for setting in settings or []:
        values = merged(values, parse_setting(setting))
    name = store.create(values, experiment_id)
    typer.echo(name)
    typer.echo(f"Wrote {store.path(name)}. Edit it, then: assay run {name} --job job_eval", err=True)
