"""Commands that write or check spec files: ``new``, ``validate``, ``schema``, ``eval`` and ``sweep``."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.errors import (
    AssayError,
    DataError,
    NotThereYetError,
    SpecError,
    StorageError,
    nearest,
    printable,
    shorten,
    unknown,
)
from assay.experiments.boards import experiment_meant
from assay.experiments.catalog import StoredExperiment
from assay.experiments.evaluation import KEY, find_evaluated
from assay.experiments.specs import SpecFiles, template
from assay.experiments.sweeps import Axis, Sweep, full_key, plan_sweep, read_axis, sweepable_keys, write_sweep
from assay.experiments.workspace import spec_files
from assay.spec.experiment import ExistingExperiment, ExperimentSpec
from assay.spec.generated_images import OwnData
from assay.spec.ids import suggest_id
from assay.spec.loading import (
    existing_experiment,
    json_schema,
    load_spec,
    load_values,
    merged,
    plugin_problem,
    spec_from,
)
from assay.spec.plugins import GROUPS, PAGE, all_plugins, import_seconds, slow_plugins
from assay.spec.yaml_text import nest, read_value, short_names, shown
from assay.storage.costs import COSTS
from assay.utils.text import pluralize, text_table


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

    A key may be shortened to any ending that only one key has.

    Raises:
        SpecError: There is no ``=`` or no key, or not exactly one key has this ending.
    """
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise SpecError("--set", [f"got {shorten(setting)}; expected key=value, such as seed=7"])
    name = key.strip()
    if name.partition(".")[0] not in ExperimentSpec.model_fields:
        name = full_key(name, sweepable_keys({}))
    return nest({name: read_value(text)})


def validate(
    targets: Annotated[list[str] | None, typer.Argument(help="IDs or files; all experiments when left out")] = None,
    data: Annotated[
        bool, typer.Option("--data", help="also read tables, labels and names of images, but no image")
    ] = False,
) -> None:
    """Check spec files; prints every problem of every file and fails when there is one."""
    store = spec_files()
    paths = [path_of(target, store) for target in targets] if targets else [store.path(name) for name in store.ids()]
    if not paths:
        typer.echo(f"There are no experiments in {store.folder} yet. Next: assay new classification")
    problems: list[str] = []
    for path in paths:
        problem, warnings = _check(path, data)
        problems += [problem] if problem else []
        for line in (problem, *(f"warning: {path}: {warning}" for warning in warnings)):
            if line:
                typer.echo(printable(line), err=True)
    for plugin in slow_plugins():
        advice = "import torch and other large libraries in the modules of the functions, which are imported on use"
        typer.echo(f"warning: importing the plug-in {plugin} took {import_seconds(plugin):.1f} s; {advice}.", err=True)
    typer.echo(f"{len(paths) - len(problems)} of {pluralize(len(paths), 'experiment is', 'experiments are')} valid.")
    if problems:
        raise typer.Exit(1)


def path_of(target: str, store: SpecFiles) -> Path:
    """Return the spec file for a file name or an experiment ID.

    Raises:
        IdError: It is neither a YAML file nor a valid ID.
        SpecError: The experiment does not exist.
    """
    if target.endswith((".yaml", ".yml")):
        return Path(target)
    path = store.path(target)
    if not store.exists(target):
        raise SpecError(str(store.folder), [unknown("Experiment", target, store.ids())])
    return path


def _check(path: Path, with_data: bool) -> tuple[str, list[str]]:
    """Return what is wrong with a file, or else what its runs will find missing: the data may be elsewhere."""
    try:
        spec = load_spec(path)
    except AssayError as error:
        return str(error), []
    if not with_data:
        return "", list(_missing_data(spec))
    from assay.stages.generated_images import check_source  # Polars, NumPy and Pillow: only here

    try:
        return "", [*check_source(spec.generated_images.source), *_missing_data(spec)]
    except AssayError as error:
        return f"{path}: generated_images.{error}", []


def _missing_data(spec: ExperimentSpec) -> Iterator[str]:
    """Yield one sentence per file or folder of the user's that a valid spec names and that does not exist."""
    source, weights = spec.generated_images.source, spec.trained_model.starting_weights
    named = {
        "generated_images.source.path": source.path if isinstance(source, OwnData) else None,
        "generated_images.source.background_folder": getattr(source, "background_folder", None),
        "trained_model.starting_weights.path": weights.path if weights else None,
    }
    for key, text in named.items():
        if text is not None:
            from assay.datasets.inspection import existing_path  # NumPy and Pillow: only here

            try:
                existing_path(text, want_folder=None)
            except DataError as error:
                yield str(error).replace("source.path", key, 1)


def schema() -> None:
    """Print the JSON Schema of spec files, for editors that complete and check YAML."""
    typer.echo(json.dumps(json_schema(), indent=2))


def list_plugins() -> None:
    """List what installed packages add to specs, whether it can be used, and how long importing it takes."""
    rows, usable = [], True
    for plugin in all_plugins():
        problem = plugin_problem(plugin)
        usable = usable and not problem
        state = problem or f"imported in {1000 * import_seconds(plugin):.0f} ms"
        rows.append([GROUPS[plugin.group].key, plugin.name, f"{plugin.package} {plugin.version}", plugin.group, state])
    if rows:
        typer.echo("\n".join(text_table(["key of the spec", "name", "package", "entry point", "state"], rows)))
    else:
        groups = ", ".join(GROUPS)
        typer.echo(f"No installed package adds anything. {PAGE} says how to write one. Entry points: {groups}.")
    if not usable:
        raise typer.Exit(1)


def evaluate(
    source: Annotated[
        str, typer.Argument(help="ID of the experiment whose model is evaluated; or champion, champion:BOARD")
    ],
    location: Annotated[
        str | None, typer.Option("--from", help="name of the location that has it; this storage if left out")
    ] = None,
    experiment_id: Annotated[str | None, typer.Option("--id", help="your own ID; invented when left out")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value that differs, such as source.path=new-images for other data"),
    ] = None,
) -> None:
    """Create an experiment that evaluates an existing one's model, on its data or on others, and print its ID."""
    store = spec_files()
    if location is None:
        source = experiment_meant(store.root, source, store)
    reference = existing_experiment({"experiment_id": source, "location": location})
    found = _find_source(store, reference)
    values = {
        "task": found.task,
        "description": f"Evaluation of {source}{f' at {location}' if location else ''}.",
        KEY: reference.model_dump(exclude_none=True) if location else source,
    }
    for setting in settings or []:
        values = merged(values, parse_setting(setting))
    name = store.create(values, experiment_id)
    typer.echo(name)
    typer.echo(f"Wrote {store.path(name)}. Edit it, then: assay run {name} --job job_eval", err=True)


def _find_source(store: SpecFiles, reference: ExistingExperiment) -> StoredExperiment:
    """Return the experiment to evaluate; a name that no experiment here has gets the nearest one."""
    try:
        return find_evaluated(store.locations, reference)
    except NotThereYetError:
        raise
    except StorageError as error:
        guess = None if reference.location else nearest(reference.experiment_id, store.ids())
        if guess in (None, reference.experiment_id) or "Did you mean" in str(error):
            raise
        raise StorageError(f"{error} Did you mean {guess!r}?") from None


TRAINING_SEED = "trained_model.seed"
FOLDS, FOLD = "splits.folds", "splits.fold"


def sweep(
    base: Annotated[str, typer.Argument(help="file or experiment ID that the experiments start from")],
    grid: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,VALUE such as epochs=5,10; may be given more than once")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the sweep; made from the base when left out")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="repeat every combination with so many training seeds")] = 1,
    folds: Annotated[
        int | None,
        typer.Option(help="cross-validation: one experiment per fold, each tested on another part of the items"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the experiments, write nothing")] = False,
) -> None:
    """Write one experiment per combination of values, all tagged with the sweep's name.

    --folds 5 writes one per fold of the data, --seeds 3 one per training seed; both may be combined with --grid.
    """
    store = spec_files()
    if not grid and seeds == 1 and folds is None:
        expected = "expected KEY=VALUE,VALUE, such as --grid epochs=5,10, or --seeds 3, or --folds 5"
        raise SpecError("--grid", [f"is missing; {expected}"])
    path = path_of(base, store)
    values = load_values(path)
    if folds is not None:
        values = merged(values, nest({FOLDS: folds, FOLD: 0}))
    resolved = spec_from(values, str(path)).as_dict()
    keys = sweepable_keys(resolved)
    axes = [read_axis(text, keys) for text in grid or []]
    if folds is not None:
        if FOLDS in [axis.key for axis in axes]:
            raise SpecError("--grid", [f"{FOLDS} is given by --folds {folds} as well; leave one of them out"])
        axes.append(Axis(FOLD, tuple(range(folds))))
    if seeds > 1:
        first = resolved["trained_model"]["seed"]
        axes.append(Axis(TRAINING_SEED, tuple(range(first, first + seeds))))
    planned = plan_sweep(store, values, axes, name or _name_for(path))
    if not dry_run:
        write_sweep(store, planned)
    typer.echo("\n".join(_table(planned)))
    for line in _prices(store, path, planned):
        typer.echo(line)
    typer.echo(_outcome(planned, dry_run))


def _name_for(path: Path) -> str:
    return suggest_id(f"{path.stem}-sweep")


def _table(planned: Sweep) -> list[str]:
    names = short_names(planned.members[0].changes)
    rows = [
        [
            member.experiment_id,
            *(shown(value) for value in member.changes.values()),
            "exists" if member.exists else "new",
        ]
        for member in planned.members
    ]
    return text_table(["experiment", *names.values(), ""], rows, frozenset(names.values()))


MOST_ESTIMATED = 500
"""New experiments whose cost is estimated; planning more takes longer than the estimate is worth."""


def _prices(store: SpecFiles, path: Path, planned: Sweep) -> Iterator[str]:
    """Yield what the sweep has cost so far, and about what the rest will, where former costs tell."""
    ran = [member.experiment_id for member in planned.members if member.exists]
    known = [*([path.stem] if path == store.path(path.stem) else []), *ran]
    if not known or not (store.root / COSTS).is_dir():
        return
    from assay.experiments.costs import estimated_cost, readable_cost, stage_costs, total_cost  # Polars: only here

    with suppress(AssayError):  # a damaged record is told of by whatever needs it
        costs = {name: stage_costs(store.root, name) for name in known}
        if any(costs[name] for name in ran):
            spent = total_cost(each for name in ran for each in costs[name])
            yield f"Cost so far, shared results counted once: {spent}"
        base = next((name for name in known if costs[name]), None)
        if base is not None and 0 < len(planned.new) <= MOST_ESTIMATED:
            specs = [spec_from(member.content, member.experiment_id) for member in planned.new]
            estimate = estimated_cost(costs[base], store.load(base), specs)
            if estimate is not None:
                yield f"Cost of the new ones, as far as that of {base} tells: about {readable_cost(estimate)}"


def _outcome(planned: Sweep, dry_run: bool) -> str:
    new, found = len(planned.new), len(planned.members) - len(planned.new)
    counts = f"{new} experiment{'s' * (new != 1)}" + (f"; {found} exist already" if found else "")
    if dry_run:
        return f"Would write {counts}. Next: the same without --dry-run."
    first = (planned.new or planned.members)[0].experiment_id
    return (
        f"Wrote {counts}. Next: assay run {first}, and so on; or `make dev`, which runs all of them.\n"
        f"Then: assay compare --sweep {planned.name}"
    )
