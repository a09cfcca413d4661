"""The command ``docs``: pages that are written from the code."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from assay.storage.files import write_text

PLACE = Path("docs/jobs.md")


class Page(Enum):
    """What can be written."""

    jobs = "jobs"


def docs(
    page: Annotated[Page, typer.Argument(help="jobs: every job, asset and key, as docs/jobs.md")],
    check: Annotated[bool, typer.Option("--check", help="write nothing; fail when the file is out of date")] = False,
) -> None:
    """Write a page of the documentation from the definitions."""
    from assets.job_page import job_page
    from definitions import defs

    text = {Page.jobs: job_page}[page](defs)
    if check:
        if not PLACE.is_file() or PLACE.read_text(encoding="utf-8") != text:
            typer.echo(f"{PLACE} is out of date. Next: assay docs {page.value}", err=True)
            raise typer.Exit(1)
        return
    write_text(PLACE, text)
    typer.echo(f"Wrote {PLACE}.")
