"""Which results are stale: made from other versions of their inputs than those recorded now.

Belongs here: comparing a result's inputs with the recorded versions. Does not belong here: where these are recorded.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from assay.automation.reconcile import EndedRun, Versions
from assay.errors import StorageError
from assay.experiments.evaluation import source_record_path
from assay.pipeline import STAGES, Stage
from assay.storage.files import MANIFEST
from assay.storage.records import MOST_MANIFEST_BYTES, ResultInputs, read_stored
from assay.storage.results import ResultStore

_log = logging.getLogger(__name__)

MAX_COMPARED = 100
"""Experiments compared in one pass, at 10 ms each."""


@dataclass(frozen=True)
class Materialization:
    """The latest materialization of an asset.

    Attributes:
        version: Its data version.
        inputs: The data version of each input that it was made from, by asset.
    """

    version: str
    inputs: Mapping[str, str] = field(default_factory=dict)


def stale_assets(made: Mapping[str, Materialization]) -> dict[str, str]:
    """Return the assets of one experiment whose inputs have another version now, or are stale themselves.

    An asset that was never made is not stale: nothing is made for the first time without a request.

    Args:
        made: The latest materializations by asset, each after its inputs.

    Returns:
        For each stale asset, the input versions that it was not made from, as one text that serves for comparison.
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


def materializations(results: ResultStore, recorded: Versions, evaluates: bool = False) -> dict[str, Materialization]:
    """Return the recorded results with the inputs that their manifests name, each after its inputs.

    A result that was deleted has no inputs. Neither has the model of an experiment that evaluates another one: it was
    made from that one's data. Dagster records input versions too, but hashed for partitioned assets, and also of inputs
    that a task never reads.

    Args:
        results: The result store.
        recorded: Recorded data versions by asset.
        evaluates: Whether the experiment evaluates the model of another one.
    """
    return {
        name: Materialization(
            recorded[name], _inputs_of(results, name, recorded[name]) if _follows(stage, evaluates) else {}
        )
        for name, stage in STAGES.items()
        if name in recorded
    }


def stale_in(recorded: Versions, results: ResultStore, experiment_id: str) -> dict[str, str]:
    """Return the stale assets of an experiment, see ``stale_assets``, by its recorded data versions."""
    evaluates = source_record_path(results.root, experiment_id).exists()
    return stale_assets(materializations(results, recorded, evaluates))


def _follows(stage: Stage, evaluates: bool) -> bool:
    return bool(stage.inputs) and not (evaluates and stage.name == "trained_model")


def _inputs_of(results: ResultStore, stage: str, fingerprint: str) -> dict[str, str]:
    result = results.find(stage, fingerprint)
    if result is None:
        return {}
    try:
        inputs: dict[str, str] = read_stored(result.folder / MANIFEST, ResultInputs, MOST_MANIFEST_BYTES)["inputs"]
    except FileNotFoundError:  # it was deleted just now
        return {}
    except StorageError as error:
        _log.warning("Whether %s is up to date is unknown: %s", stage, error)
        return {}
    return inputs


class Events(Protocol):
    """The orchestrator's records of materializations and runs."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return the experiments that have a queued or running run."""

    def materialized_after(self, event_id: int) -> Mapping[str, int]:
        """Return the experiments with a stage materialized after an event, with the ID of their latest such event."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""

    def unsuccessful(self, experiment_ids: Collection[str]) -> Mapping[str, EndedRun]:
        """Return the experiments whose latest run was cancelled or failed, with this run."""


@dataclass(frozen=True)
class UpstreamComparison:
    """The outcome of one comparison.

    Attributes:
        seen: ID of the last event that was taken into account.
        waiting: Experiments left for a later pass, because they have an active run or there were too many.
        stale: For every compared experiment, its stale assets as from ``stale_assets``; empty if there are none. What
            its latest run was to make, and did not because it failed or was cancelled, is not among them.
    """

    seen: int
    waiting: frozenset[str]
    stale: Mapping[str, Mapping[str, str]]


def compare_changed(
    events: Events, results: ResultStore, seen: int | None, waiting: Collection[str]
) -> UpstreamComparison:
    """Compare the experiments with new materializations, except those that have an active run.

    Args:
        events: The orchestrator's records.
        results: The result store, whose manifests record each result's inputs.
        seen: ID of the last event of the previous pass; None in the first pass, which compares nothing.
        waiting: Experiments that the previous pass left for this one.
    """
    changed = events.materialized_after(seen or 0)
    latest = max([seen or 0, *changed.values()])
    if seen is None:
        return UpstreamComparison(latest, frozenset(), {})
    candidates = sorted(changed.keys() | set(waiting))
    busy = events.active(candidates) if candidates else set()
    compared = [name for name in candidates if name not in busy][:MAX_COMPARED]
    recorded = events.recorded(compared) if compared else {}
    ended = events.unsuccessful(compared) if compared else {}
    found: dict[str, Mapping[str, str]] = {}
    for name, versions in recorded.items():
        try:
            stale, run = stale_in(versions, results, name), ended.get(name)
            found[name] = {asset: lack for asset, lack in stale.items() if not (run and run.was_to_make([asset]))}
        except Exception:  # a damaged result of one experiment; all others go on
            _log.exception("Experiment %s could not be compared with its inputs.", name)
    return UpstreamComparison(latest, frozenset(candidates) - frozenset(compared), found)
