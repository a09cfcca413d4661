"""A stage's result inside of its experiment: built or found under the spec's own locks, then published.

Belongs here: the order of these steps. Does not belong here: how a result becomes complete
(``assay.storage.results``), what a stage computes, telling Dagster.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from assay.errors import StorageError
from assay.experiments.copying import mirror_experiment
from assay.experiments.folders import ExperimentFolders
from assay.experiments.importing import fetch_result
from assay.experiments.locks import named_locks
from assay.pipeline import StageConfig, StageSection
from assay.spec.experiment import FileLockSpec
from assay.storage.locations import Locations
from assay.storage.locks import Waiting
from assay.storage.results import Build, Result, ResultStore


@contextmanager
def build_stage(
    locations: Locations,
    spec: StageConfig[StageSection],
    inputs: Mapping[str, Result | str],
    locks: Mapping[str, FileLockSpec],
    waiting: Waiting | None = None,
) -> Iterator[Build]:
    """Build, or find, a stage's result in the block, and publish it into the experiment's folder afterwards.

    Args:
        locations: The storage, and where else experiments are kept.
        spec: What the stage reads of the experiment's spec.
        inputs: Results of other stages, or digests of data from outside, by name.
        locks: The spec's ``filelock_dict``, held meanwhile.
        waiting: Is told who holds what has to be waited for.

    Raises:
        StorageError: A lock is not free in time; the storage, or the experiment's own location, can't be written.
    """
    with named_locks(locations, locks, f"{spec.stage} of {spec.experiment_id}", waiting):
        with ResultStore(locations.root).build(spec, inputs, waiting) as build:
            yield build
        publish(locations, spec.experiment_id, build.result)


def adopt_model(
    locations: Locations,
    spec: StageConfig[StageSection],
    locks: Mapping[str, FileLockSpec],
    waiting: Waiting | None = None,
) -> Result:
    """Find, or fetch, the model that an evaluation is of, and publish it into the experiment's folder.

    Raises:
        StorageError: It is nowhere any more.
    """
    with named_locks(locations, locks, f"{spec.stage} of {spec.experiment_id}", waiting):
        result = fetch_adopted(locations, spec, "trained_model")
        publish(locations, spec.experiment_id, result)
    return result


def fetch_adopted(locations: Locations, spec: StageConfig[Any], stage: str) -> Result:
    """Return a result of the experiment whose model is evaluated.

    Raises:
        StorageError: It is nowhere any more, or the spec evaluates no experiment.
    """
    if spec.found is None:
        raise StorageError("The spec names no existing_experiment.")
    return fetch_result(locations, spec.found, stage, spec.section.output_location)


def publish(locations: Locations, experiment_id: str, result: Result) -> None:
    """Link a result into the experiment's folder, and bring the folder's copy elsewhere up to date, if it has one."""
    ExperimentFolders(locations.root).publish(experiment_id, result)
    mirror(locations, experiment_id)


def mirror(locations: Locations, experiment_id: str) -> None:
    """Bring the copy of an experiment's folder up to date, where its spec wants one at another location."""
    folder = ExperimentFolders(locations.root).find(experiment_id)
    if folder is not None:
        mirror_experiment(locations, folder)
