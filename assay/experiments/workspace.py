"""The project's spec files, storage, locations and Dagster home: the same for the command line and for Dagster."""

import os
from pathlib import Path

from assay.errors import StorageError
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.storage.bucket import SCHEME
from assay.storage.locations.config import Locations
from assay.storage.remote import storage_at

STORAGE_VARIABLE = "ASSAY_STORAGE"
EXPERIMENTS_VARIABLE = "ASSAY_EXPERIMENTS"
LOCATIONS_VARIABLE = "ASSAY_LOCATIONS"
HOME_VARIABLE = "DAGSTER_HOME"


def storage_root() -> Path:
    """Return the storage root on this machine: $ASSAY_STORAGE or ./storage; of a storage in a bucket, its cache.

    Raises:
        SpecError, StorageError: The bucket, or the cache, can't be used.
    """
    return storage_at(storage_url() or "storage")


def in_bucket() -> bool:
    """Return whether $ASSAY_STORAGE is meant to be in a bucket, shared with other machines."""
    return storage_url().startswith(SCHEME)


def storage_url() -> str:
    """Return $ASSAY_STORAGE as it is, a folder or a URL; empty if it is not set."""
    return os.environ.get(STORAGE_VARIABLE) or ""


def spec_files() -> SpecFiles:
    """Return the spec files: in $ASSAY_EXPERIMENTS or ./experiments."""
    folder = Path(os.environ.get(EXPERIMENTS_VARIABLE) or "experiments")
    return SpecFiles(folder, storage_root(), locations())


def locations() -> Locations:
    """Return the named locations: in $ASSAY_LOCATIONS or ./locations.yaml, and the storage's own folders."""
    return Locations(Path(os.environ.get(LOCATIONS_VARIABLE) or "locations.yaml"), storage_root())


def dagster_home() -> Path:
    """Return the Dagster home, which need not exist: $DAGSTER_HOME or ./.dagster_home."""
    return Path(os.environ.get(HOME_VARIABLE) or ".dagster_home").expanduser().absolute()


def folders() -> ExperimentFolders:
    """Return the experiments' own folders."""
    return ExperimentFolders(storage_root())


def refuse_bucket_on_nodes() -> None:
    """Refuse to run on the nodes of a cluster what is to be stored in a bucket.

    Raises:
        StorageError: The storage is in a bucket, whose cache and credentials no node has yet.
    """
    if in_bucket():
        told = f"Runs on nodes of a cluster can't use a storage in a bucket yet ({storage_url()})"
        raise StorageError(f"{told}. Name a folder that all nodes mount in {STORAGE_VARIABLE}.")


def node_environment() -> dict[str, str]:
    """Return the environment variables by which a process of another machine finds this project, all absolute.

    They name the same places there: a folder that all machines mount at the same path.

    Raises:
        StorageError: The storage is in a bucket, whose cache and credentials no node has yet.
    """
    refuse_bucket_on_nodes()
    specs = os.environ.get(EXPERIMENTS_VARIABLE) or "experiments"
    places = os.environ.get(LOCATIONS_VARIABLE) or "locations.yaml"
    return {
        STORAGE_VARIABLE: str(storage_root()),
        EXPERIMENTS_VARIABLE: str(Path(specs).absolute()),
        LOCATIONS_VARIABLE: str(Path(places).absolute()),
        HOME_VARIABLE: str(dagster_home()),
    }
