"""The command ``sweep``: one experiment for every combination of some values."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.places import spec_files
from assay.cli.specs import path_of
from assay.errors import SpecError
from assay.ids import suggest_id
from assay.spec.dotted import short_names, shown
from assay.spec.loading import load_values, spec_from
from assay.sweeps.grid import Axis, read_axis
from assay.sweeps.keys import sweepable_keys
from assay.sweeps.plan import Sweep, plan_sweep
from assay.sweeps.write import write_sweep
from assay.text_table import text_table

TRAINING_SEED = "trained_model.seed"


def sweep(
    base: Annotated[str, typer.Argument(help="file or experiment ID that the experiments start from")],
    grid: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE,VALUE such as epochs=5,10; may be given more than once")
    ] = None,
    name: Annotated[str | None, typer.Option(help="name of the sweep; made from the base when left out")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="repeat every combination with so many training seeds")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the experiments, write nothing")] = False,
) -> None:
    """Write one experiment per combination of values, all tagged with the sweep's name."""
    store = spec_files()
    if not grid and seeds == 1:
        raise SpecError("--grid", ["is missing; expected KEY=VALUE,VALUE, such as --grid epochs=5,10, or --seeds 3"])
    path = path_of(base, store)
    values = load_values(path)
    resolved = spec_from(values, str(path)).as_dict()
    keys = sweepable_keys(resolved)
    axes = [read_axis(text, keys) for text in grid or []]
    if seeds > 1:
        first = resolved["trained_model"]["seed"]
        axes.append(Axis(TRAINING_SEED, tuple(range(first, first + seeds))))
    planned = plan_sweep(store, values, axes, name or _name_for(path))
    if not dry_run:
        write_sweep(store, planned)
    typer.echo("\n".join(_table(planned)))
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
