"""Prepares the Dagster home: complete or absent databases, Assay's settings, automation that is on and says so.

Belongs here: making the folder, and state of the instance that no file can set. Does not belong here: what the
settings are (``dagster.yaml``).
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused

from assay.storage.files import temporary_sibling, write_text

DATABASES = ("history", "schedules")
"""The folders of a home in which Dagster keeps its databases."""


@contextmanager
def local_instance() -> Iterator[dg.DagsterInstance]:
    """Give the instance of $DAGSTER_HOME, or of ./.dagster_home, which ``make dev`` shows too."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").expanduser().absolute()
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster takes no relative path, and processes that it starts look here
    make_home(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


def make_home(home: Path) -> None:
    """Give ``home`` its settings and its databases, as far as it has none; each database is there whole or not at all.

    Dagster makes its tables one by one and never looks again: a process that was killed meanwhile left a home that
    nothing could use. So they are made elsewhere, and moved.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        ours = Path(__file__).parents[2] / "dagster.yaml"  # in a checkout; not part of the wheel
        write_text(home / "dagster.yaml", ours.read_text() if ours.is_file() else "telemetry: {enabled: false}\n")
    missing = [name for name in DATABASES if not (home / name).exists()]
    if not missing:
        return
    elsewhere = temporary_sibling(home / "databases")
    elsewhere.mkdir()
    try:
        shutil.copy(home / "dagster.yaml", elsewhere)
        dg.DagsterInstance.from_config(str(elsewhere)).dispose()
        for name in missing:
            (elsewhere / name).mkdir(exist_ok=True)  # an instance on another database makes none
            with suppress(OSError):  # another process was first
                (elsewhere / name).rename(home / name)
    finally:
        shutil.rmtree(elsewhere)


def prepare(instance: dg.DagsterInstance) -> None:
    """Turn off the switch of Dagster's former automation, which starts as paused.

    Sensors don't ask it, but every page of a job would say "Auto-materialize off".
    """
    if get_auto_materialize_paused(instance):
        set_auto_materialize_paused(instance, False)


if __name__ == "__main__":
    with local_instance() as instance:
        prepare(instance)
