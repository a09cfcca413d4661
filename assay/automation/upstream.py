"""Which results were made from other inputs than those recorded now.

Belongs here: comparing what a result was made from with what there is. Does not belong here: where that is recorded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from assay.automation.reconcile import Versions
from assay.errors import StorageError
from assay.experiments.evaluation import adopted_path
from assay.pipeline import STAGES, Stage
from assay.storage.results import ResultStore

MOST_COMPARED = 100
"""Experiments compared in one look: 10 ms each."""


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


def made_from(results: ResultStore, recorded: Versions, evaluates: bool = False) -> dict[str, Made]:
    """Return what the recorded results were made from, each after its inputs; a result that is gone says nothing.

    The model of an experiment that evaluates another's was made from that one's data, so it follows none of its own.

    Dagster keeps versions of inputs too, but of partitioned assets as hashes, and of inputs that a task never reads.
    """
    return {
        name: Made(recorded[name], _inputs_of(results, name, recorded[name]) if _follows(stage, evaluates) else {})
        for name, stage in STAGES.items()
        if name in recorded
    }


def _follows(stage: Stage, evaluates: bool) -> bool:
    return bool(stage.inputs) and not (evaluates and stage.name == "trained_model")


def _inputs_of(results: ResultStore, stage: str, fingerprint: str) -> dict[str, str]:
    try:
        inputs: dict[str, str] = results.open(stage, fingerprint).manifest["inputs"]
    except StorageError:
        return {}
    return inputs


class Events(Protocol):
    """What the orchestrator knows of materializations and runs."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return those that have a run queued or running."""

    def materialized_after(self, event_id: int) -> Mapping[str, int]:
        """Return the latest event of each experiment of which a stage was materialized after an event."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


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


def look_for_changes(events: Events, results: ResultStore, seen: int | None, waiting: Collection[str]) -> Look:
    """Compare the experiments of which something was materialized, unless a run is at work on them.

    Args:
        events: What the orchestrator knows.
        results: Where the results say what they were made from.
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
    recorded = events.recorded(compared) if compared else {}
    found = {
        name: behind(made_from(results, versions, adopted_path(results.root, name).exists()))
        for name, versions in recorded.items()
    }
    return Look(latest, frozenset(candidates) - frozenset(compared), found)
