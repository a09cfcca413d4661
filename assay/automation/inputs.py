"""Which results were made from other inputs than those recorded now.

Belongs here: comparing what a result was made from with what there is. Does not belong here: where that is recorded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MOST_COMPARED = 50
"""Experiments compared in one look: 40 ms each."""


@dataclass(frozen=True)
class Made:
    """The latest materialization of an asset.

    Attributes:
        version: Its data version.
        inputs: The data version of each input that it was made from, by asset.
    """

    version: str
    inputs: Mapping[str, str] = field(default_factory=dict)


def behind(made: Mapping[str, Made]) -> dict[str, str]:
    """Return the assets of one experiment whose inputs have another version now, or are behind themselves.

    An asset that was never made is not behind: nothing is made for the first time unasked.

    Args:
        made: The latest materializations, by asset, each after its inputs.

    Returns:
        By asset, the versions that it lacks, as one text: the same text, the same shortcoming.
    """
    found: dict[str, str] = {}
    for name, latest in made.items():
        lacks = [
            found.get(parent) or f"{parent} {made[parent].version}"
            for parent, version in latest.inputs.items()
            if parent in found or (parent in made and made[parent].version != version)
        ]
        if lacks:
            found[name] = ", ".join(sorted(set(lacks)))
    return found


class Events(Protocol):
    """What the orchestrator knows of materializations and runs."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return those that have a run queued or running."""

    def materialized_after(self, event_id: int) -> Mapping[str, int]:
        """Return the latest event of each experiment of which a stage was materialized after an event."""

    def made(self, experiment_ids: Collection[str]) -> Mapping[str, Mapping[str, Made]]:
        """Return the latest materialization of every stage, by experiment, each after its inputs."""


@dataclass(frozen=True)
class Look:
    """What was found at one moment.

    Attributes:
        seen: The last event that was taken into account.
        waiting: Experiments left for a later look: a run is at work on them, or there were too many.
        behind: What each experiment's assets lack, for all that were compared; empty when all is well.
    """

    seen: int
    waiting: frozenset[str]
    behind: Mapping[str, Mapping[str, str]]


def look_for_changes(events: Events, seen: int | None, waiting: Collection[str]) -> Look:
    """Compare the experiments of which something was materialized, unless a run is at work on them.

    Args:
        events: What the orchestrator knows.
        seen: The last event of the look before; None at the very first, which compares nothing.
        waiting: Experiments that were left for this look.
    """
    changed = events.materialized_after(seen or 0)
    latest = max([seen or 0, *changed.values()])
    if seen is None:
        return Look(latest, frozenset(), {})
    candidates = sorted(changed.keys() | set(waiting))
    busy = events.active(candidates) if candidates else set()
    compared = [name for name in candidates if name not in busy][:MOST_COMPARED]
    made = events.made(compared) if compared else {}
    found = {experiment_id: behind(latest) for experiment_id, latest in made.items()}
    return Look(latest, frozenset(candidates) - frozenset(compared), found)
