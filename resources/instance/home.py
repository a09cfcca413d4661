"""Preparing the Dagster home: Assay's settings, complete databases, and automation switched on.

Belongs here: creating the folder, and state of the instance that no file can set. Does not belong here: the settings
themselves (``dagster.yaml``).
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused

from assay.storage.files import temporary_sibling, write_text

DATABASES = ("history", "schedules")
"""The folders of a home in which Dagster keeps its databases."""

MOVED_MODULES = {
    "resources.event_log": "resources.instance.event_log",
    "resources.run_launcher": "resources.instance.run_launcher",
    "assay.learning": "assay.training",
}
"""Names in settings that version 0.1.0 wrote into a home, and where these modules are now."""


@contextmanager
def local_instance() -> Iterator[dg.DagsterInstance]:
    """Yield the instance of $DAGSTER_HOME, or else of ./.dagster_home, which ``make dev`` uses too."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster_home").expanduser().absolute()
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster accepts no relative path; its child processes read this variable
    make_home(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


def make_home(home: Path) -> None:
    """Create the settings and databases that ``home`` lacks; each database is complete or absent.

    Dagster creates its tables one by one and does not check them later, so a process that is killed meanwhile would
    leave an unusable home. The databases are therefore created in another folder and moved.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        ours = Path(__file__).parents[2] / "dagster.yaml"  # in a checkout; not part of the wheel
        write_text(
            home / "dagster.yaml",
            ours.read_text(encoding="utf-8") if ours.is_file() else "telemetry: {enabled: false}\n",
        )
    _update_settings(home / "dagster.yaml")
    missing = [name for name in DATABASES if not (home / name).exists()]
    if not missing:
        return
    temporary = temporary_sibling(home / "databases")
    temporary.mkdir()
    try:
        shutil.copy(home / "dagster.yaml", temporary)
        dg.DagsterInstance.from_config(str(temporary)).dispose()
        for name in missing:
            (temporary / name).mkdir(exist_ok=True)  # an instance on another database creates none
            with suppress(OSError):  # another process was first
                (temporary / name).rename(home / name)
    finally:
        shutil.rmtree(temporary)


def _update_settings(path: Path) -> None:
    """Replace the names of modules that have moved; whatever else users set stays."""
    settings = path.read_text(encoding="utf-8")
    updated = settings
    for former, current in MOVED_MODULES.items():
        updated = re.sub(rf"(?<![\w.]){re.escape(former)}\b", current, updated)
    if updated != settings:
        write_text(path, updated)


def prepare(instance: dg.DagsterInstance) -> None:
    """Unpause Dagster's former automation, whose switch is paused by default.

    Sensors ignore this switch, but with it paused every job page in the UI shows "Auto-materialize off".
    """
    if get_auto_materialize_paused(instance):
        set_auto_materialize_paused(instance, False)


if __name__ == "__main__":
    with local_instance() as instance:
        prepare(instance)
