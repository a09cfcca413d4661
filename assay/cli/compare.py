"""The command ``compare``: experiments side by side, best first, in the terminal and as a page."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.places import spec_files, storage_root

UNLIMITED = 10_000
"""Width of a line when nobody's window limits it."""


def compare(
    ids: Annotated[list[str] | None, typer.Argument(help="IDs; all experiments when nothing is chosen")] = None,
    sweep: Annotated[str | None, typer.Option(help="the experiments of this sweep")] = None,
    where: Annotated[
        str | None, typer.Option(help="only those for which an SQL condition holds, such as: seed < 10")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="what orders them; the task's main metric when left out")] = None,
    subset: Annotated[str, typer.Option(help="the subset whose metrics are compared")] = "test",
    html: Annotated[Path | None, typer.Option(help="file of the page; below the storage when left out")] = None,
) -> None:
    """Show experiments best first, with what differs between them, and write a page with their curves."""
    from assay.comparison.collect import collect  # Polars, DuckDB and matplotlib: only here
    from assay.comparison.page import write_comparison
    from assay.comparison.ranking import rank
    from assay.comparison.selection import chosen_ids, selection_name
    from assay.comparison.terminal import as_text

    root, store = storage_root(), spec_files()
    chosen = chosen_ids(root, store, ids or [], sweep, where)
    if not chosen:
        condition = f" for which {where} holds" if where else ""
        typer.echo(f"There is no experiment{condition}. Next: assay new regression, or assay sweep BASE --grid …")
        return
    collection = collect(root, store, chosen, subset)
    rankings = rank(collection, metric)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    typer.echo("\n\n".join("\n".join(as_text(ranking, subset, width)) for ranking in rankings))
    if any(ranking.ranked for ranking in rankings):
        name = selection_name(ids or [], sweep, where)
        page = html or root / "compare" / f"{name}.html"
        write_comparison(page, sweep or name, rankings, collection)
        typer.echo(f"\nPage with curves: {page}")
