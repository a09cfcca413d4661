"""Prepares the Dagster home for ``make dev``: automation is on, and the UI says so.

Belongs here: state of the instance that no file can set. Does not belong here: ``dagster.yaml``.
"""

import dagster as dg
from dagster._daemon.asset_daemon import get_auto_materialize_paused, set_auto_materialize_paused


def prepare(instance: dg.DagsterInstance) -> None:
    """Turn off the switch of Dagster's former automation, which starts as paused.

    Sensors don't ask it, but every page of a job would say "Auto-materialize off".
    """
    if get_auto_materialize_paused(instance):
        set_auto_materialize_paused(instance, False)


if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        prepare(instance)
