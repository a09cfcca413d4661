"""Preparing the Dagster home: Assay's settings, complete databases, automation under its present names.

Belongs here: creating the folder, and state of the instance that no file can set, such as a first partition. Does not
belong here: the settings themselves (``assay.experiments.profiles``).
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path

import dagster as dg

from assay.experiments.profiles import SETTINGS, require_services, write_profile
from assay.experiments.specs import SpecFiles
from assay.experiments.workspace import HOME_VARIABLE, dagster_home
from assay.storage.files import temporary_sibling, write_text
from partitions.experiments import NAME, add_experiment, known_experiments

DATABASES = ("history", "schedules")
"""The folders of a home in which Dagster keeps its databases."""

MOVED_MODULES = {
    "resources.event_log": "resources.instance.event_log",
    "resources.run_launcher": "resources.instance.run_launcher",
    "assay.learning": "assay.training",
}
"""Names in settings that version 0.1.0 wrote into a home, and where these modules are now."""


FORMER_SENSORS = {
    "follow_files": "experiment_files",
    "follow_upstream": "follow_inputs",
    "follow_code": "code_changes",
    "update_warehouse": "warehouse",
}
"""The names that version 0.1.0 gave to the sensors."""


COMPUTE_LOGS = "compute_logs: {module: resources.instance.compute_logs, class: QuietComputeLogManager}\n"
"""Setting that homes of version 0.1.0 lack."""


@contextmanager
def local_instance() -> Iterator[dg.DagsterInstance]:
    """Yield the instance of $DAGSTER_HOME, or else of ./.dagster_home, which ``make dev`` uses too."""
    home = dagster_home()
    os.environ[HOME_VARIABLE] = str(home)  # Dagster accepts no relative path; its child processes read this variable
    make_home(home)
    with dg.DagsterInstance.get() as instance:
        yield instance


def make_home(home: Path) -> None:
    """Create the settings and databases that ``home`` lacks; each database is complete or absent.

    Dagster creates its tables one by one and does not check them later, so a process that is killed meanwhile would
    leave an unusable home. The databases are therefore created in another folder and moved.

    Raises:
        StorageError: The settings name a database that can't be used.
    """
    home.mkdir(parents=True, exist_ok=True)
    if not (home / SETTINGS).exists():
        write_profile(home, "local")
    _update_settings(home / SETTINGS)
    require_services(home)
    missing = [name for name in DATABASES if not (home / name).exists()]
    if not missing:
        return
    temporary = temporary_sibling(home / "databases")
    temporary.mkdir()
    try:
        shutil.copy(home / SETTINGS, temporary)
        dg.DagsterInstance.from_config(str(temporary)).dispose()
        for name in missing:
            (temporary / name).mkdir(exist_ok=True)  # an instance on another database creates none
            with suppress(OSError):  # another process was first
                (temporary / name).rename(home / name)
    finally:
        shutil.rmtree(temporary)


def _update_settings(path: Path) -> None:
    """Replace the names of modules that have moved, and add what is new; whatever else users set stays."""
    settings = path.read_text(encoding="utf-8")
    updated = settings
    for former, current in MOVED_MODULES.items():
        updated = re.sub(rf"(?<![\w.]){re.escape(former)}\b", current, updated)
    if "resources.instance.event_log" in updated and "compute_logs:" not in updated:
        updated = f"{updated.rstrip()}\n{COMPUTE_LOGS}"
    if updated != settings:
        write_text(path, updated)


def prepare(instance: dg.DagsterInstance) -> None:
    """Let sensors go on where they were under a former name, and unpause Dagster's former automation.

    Sensors ignore that switch, but while it is paused, its default, every job page in the UI shows "Auto-materialize
    off".
    """
    # A quarter of a second that only preparing needs: it brings all databases that SQLAlchemy knows.
    from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused

    rename_sensors(instance)
    if get_auto_materialize_paused(instance):
        set_auto_materialize_paused(instance, False)


def rename_sensors(instance: dg.DagsterInstance) -> None:
    """Give each sensor that has another name now its state under the former one: whether it is on, and its cursor.

    Without it, one that was stopped would run, a change made while nothing ran might be missed, and what failed would
    be run again. It must happen before the daemon's first tick; a state under the present name is left alone.
    """
    states = {(state.repository_selector_id, state.name): state for state in instance.all_instigator_state()}
    ours = {place for place, name in states if name == FORMER_SENSORS["follow_files"]}  # others may have a `warehouse`
    for place, name in product(ours, FORMER_SENSORS):
        former = states.get((place, FORMER_SENSORS[name]))
        if former is None:
            continue
        if (place, name) not in states:
            origin = former.origin._replace(instigator_name=name)
            instance.add_instigator_state(former._replace(origin=origin))
        instance.delete_instigator_state(former.instigator_origin_id, former.selector_id)


EXAMPLE = "example"
"""Partition that stands in a UI without experiments; materialized, it is an experiment of its task's template."""


def offer_example(instance: dg.DagsterInstance, specs: SpecFiles) -> bool:
    """Give a UI without experiments a partition to try; returns whether there are no experiments.

    An example that nobody tried goes when there are experiments, where it would only count as missing.
    """
    known, used = known_experiments(instance), specs.used_ids()
    if not known and not used:
        add_experiment(instance, EXAMPLE)
    elif EXAMPLE in known and EXAMPLE not in used and (len(known) > 1 or used):
        instance.delete_dynamic_partition(NAME, EXAMPLE)
    return not used and known <= {EXAMPLE}


if __name__ == "__main__":
    with local_instance() as instance:
        prepare(instance)
