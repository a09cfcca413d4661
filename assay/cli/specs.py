"""Commands on spec files: ``new``, ``validate``, ``schema``."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.places import spec_files
from assay.errors import SpecError, unknown
from assay.experiments.specs import SpecFiles, template
from assay.spec.dotted import nest
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import json_schema, load_spec, merged
from assay.spec.yaml_text import read_value
from assay.sweeps.keys import full_key, sweepable_keys


def new(
    task: Annotated[str, typer.Argument(help="regression, classification, multi_label, segmentation or detection")],
    experiment_id: Annotated[str | None, typer.Option("--id", help="your own ID; invented when left out")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as epochs=5 or train_params.epochs=5")
    ] = None,
) -> None:
    """Create an experiment from its task's template and print its ID."""
    values = template(task)
    for setting in settings or []:
        values = merged(values, parse_setting(setting))
    store = spec_files()
    name = store.create(values, experiment_id)
    typer.echo(name)
    typer.echo(f"Wrote {store.path(name)}. Edit it, then: assay run {name}", err=True)


def parse_setting(setting: str) -> dict[str, Any]:
    """Return ``seed=3`` as ``{"seed": 3}``, and ``epochs=5`` as ``{"trained_model": {"train_params": {"epochs": 5}}}``.

    A key may be shortened as long as only one ends so.

    Raises:
        SpecError: There is no ``=``, no key, or none or several that end so.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise SpecError("--set", [f"got {setting!r}; expected key=value, such as seed=7"])
    name = key.strip()
    if name.partition(".")[0] not in ExperimentSpec.model_fields:
        name = full_key(name, sweepable_keys({}))
    return nest({name: read_value(text)})


def validate(
    targets: Annotated[list[str] | None, typer.Argument(help="IDs or files; all experiments when left out")] = None,
) -> None:
    """Check spec files; prints every problem of every file and fails when there is one."""
    store = spec_files()
    paths = [path_of(target, store) for target in targets] if targets else [store.path(name) for name in store.ids()]
    problems = [str(error) for path in paths if (error := _error_in(path))]
    for problem in problems:
        typer.echo(problem, err=True)
    typer.echo(f"{len(paths) - len(problems)} of {len(paths)} experiments are valid.")
    if problems:
        raise typer.Exit(1)


def path_of(target: str, store: SpecFiles) -> Path:
    """Return the file that a user means by a file's name or an ID.

    Raises:
        IdError: It is neither.
        SpecError: There is no such experiment.
    """
    if target.endswith((".yaml", ".yml")):
        return Path(target)
    path = store.path(target)
    if not path.exists():
        raise SpecError(str(store.folder), [unknown("Experiment", target, store.ids())])
    return path


def _error_in(path: Path) -> SpecError | None:
    try:
        load_spec(path)
    except SpecError as error:
        return error
    return None


def schema() -> None:
    """Print the JSON Schema of spec files, for editors that complete and check YAML."""
    typer.echo(json.dumps(json_schema(), indent=2))
