"""Builds, or finds, the result of a stage for an experiment, and publishes it into the experiment's folder.

Belongs here: the order of these steps and the locks of the spec held meanwhile. Does not belong here: how a result
becomes complete (``assay.storage.results``), what a stage computes, reporting to Dagster.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from assay.errors import StorageError
from assay.experiments.copying import mirror_experiment
from assay.experiments.folders import ExperimentFolders
from assay.experiments.importing import fetch_result
from assay.experiments.locks import named_locks
from assay.pipeline import StageConfig, StageSection
from assay.spec.experiment import LockSection
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import Waiting
from assay.storage.results import Build, Result, ResultStore


@contextmanager
def build_stage(
    locations: Locations,
    spec: StageConfig[StageSection],
    inputs: Mapping[str, Result | str],
    locks: Mapping[str, LockSection],
    waiting: Waiting | None = None,
) -> Iterator[Build]:
    """Yield the build of a stage's result to the block, then publish the result into the experiment's folder.

    Args:
        locations: The storage, and the other locations where experiments are kept.
        spec: The stage's section of the spec.
        inputs: Results of other stages, or digests of external data, by name.
        locks: Those of the spec's ``filelock_dict`` that the run does not hold yet; they are held meanwhile.
        waiting: Called with the holder of a lock that has to be waited for.

    Raises:
        StorageError: A lock was not free in time; the storage, or the experiment's own location, can't be written.
    """
    with named_locks(locations, locks, f"{spec.stage} of {spec.experiment_id}", waiting):
        publish = partial(ExperimentFolders(locations.root).publish, spec.experiment_id)
        with ResultStore(locations.root).build(spec, inputs, waiting, publish) as build:
            yield build
        mirror(locations, spec.experiment_id)


def publish_evaluated_model(
    locations: Locations,
    spec: StageConfig[StageSection],
    locks: Mapping[str, LockSection],
    waiting: Waiting | None = None,
) -> Result:
    """Find, or fetch, the model that the experiment evaluates, and publish it into the experiment's folder.

    Raises:
        StorageError: The model no longer exists at any location.
    """
    with named_locks(locations, locks, f"{spec.stage} of {spec.experiment_id}", waiting):
        with ResultStore(locations.root).keeping(fetch_evaluated(locations, spec, "trained_model")) as result:
            ExperimentFolders(locations.root).publish(spec.experiment_id, result)
        mirror(locations, spec.experiment_id)
    return result


def fetch_evaluated(locations: Locations, spec: StageConfig[Any], stage: str) -> Result:
    """Return a stage's result of the experiment whose model is evaluated.

    Raises:
        StorageError: The result no longer exists at any location, or the spec evaluates no experiment.
    """
    if spec.found is None:
        raise StorageError("The spec names no existing_experiment.")
    return fetch_result(locations, spec.found, stage, spec.section.output_location)


def mirror(locations: Locations, experiment_id: str) -> None:
    """Update the copy of an experiment's folder, if its spec asks for one at another location."""
    folder = ExperimentFolders(locations.root).find(experiment_id)
    if folder is not None:
        mirror_experiment(locations, folder)
