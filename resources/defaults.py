"""The resources that the definitions use by default, configured by environment variables."""

import os
from typing import Any

import dagster as dg

from assay.storage.warehouse.refresh import INDEX
from resources.experiment_store import ExperimentStore
from resources.io_managers import DEFAULT_SCHEMA, DuckDBParquetIOManager, ResultIOManager, SectionIOManager
from resources.progress import ProgressReporter
from resources.tracking import Tracker


def default_store(reporter: ProgressReporter | None = None) -> ExperimentStore:
    """Return the store in $ASSAY_STORAGE (default ./storage) with the specs in $ASSAY_EXPERIMENTS (./experiments).

    Further locations are listed in $ASSAY_LOCATIONS (./locations.yaml).
    """
    return ExperimentStore(
        root=os.environ.get("ASSAY_STORAGE") or "storage",
        experiments_folder=os.environ.get("ASSAY_EXPERIMENTS") or "experiments",
        locations_file=os.environ.get("ASSAY_LOCATIONS") or "locations.yaml",
        reporter=reporter or ProgressReporter(),
        tracker=default_tracker(),
    )


def default_owners() -> list[str]:
    """Return whom the UI names as owners of the assets: $ASSAY_OWNERS, e-mail addresses or ``team:…``, with commas."""
    owners = os.environ.get("ASSAY_OWNERS") or "team:machine-learning"
    return [each.strip() for each in owners.split(",") if each.strip()]


def default_tracker() -> Tracker:
    """Return the tracker for MLflow at $ASSAY_MLFLOW_URI (none) and experiment $ASSAY_MLFLOW_EXPERIMENT (assay)."""
    return Tracker(
        # The variable's name, not its value: the UI shows the configuration, and a URI may contain a password.
        uri=dg.EnvVar("ASSAY_MLFLOW_URI") if os.environ.get("ASSAY_MLFLOW_URI") else "",
        experiment=os.environ.get("ASSAY_MLFLOW_EXPERIMENT") or "assay",
    )


def resources_for(store: ExperimentStore) -> dict[str, Any]:
    """Return all resources by key, based on one store."""
    tables = DuckDBParquetIOManager(database=str(store.path / INDEX), schema=DEFAULT_SCHEMA)
    return {
        "io_manager": tables,  # for assets that name no I/O manager; Dagster's default would pickle their values
        "store": store,
        "sections": SectionIOManager(store=store),
        "results": ResultIOManager(store=store),
        "tables": tables,
    }
