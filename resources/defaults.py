"""The resources that definitions use unless told otherwise; the only place that reads environment variables."""

import os
from typing import Any

import dagster as dg

from resources.experiment_store import ExperimentStore
from resources.io_managers import DuckDBParquetIOManager, ResultIOManager, SectionIOManager
from resources.progress import ProgressReporter
from resources.tracking import Tracker


def default_store(reporter: ProgressReporter | None = None) -> ExperimentStore:
    """Return the store in $ASSAY_STORAGE (./storage) with the specs of $ASSAY_EXPERIMENTS (./experiments).

    Further locations are named in $ASSAY_LOCATIONS (./locations.yaml).
    """
    return ExperimentStore(
        root=os.environ.get("ASSAY_STORAGE") or "storage",
        experiments_folder=os.environ.get("ASSAY_EXPERIMENTS") or "experiments",
        locations_file=os.environ.get("ASSAY_LOCATIONS") or "locations.yaml",
        reporter=reporter or ProgressReporter(),
        tracker=default_tracker(),
    )


def default_tracker() -> Tracker:
    """Return the MLflow of $ASSAY_MLFLOW_URI (none), experiment $ASSAY_MLFLOW_EXPERIMENT (assay)."""
    return Tracker(
        # By its name: the UI shows what resources are configured with, and a URI may hold a password.
        uri=dg.EnvVar("ASSAY_MLFLOW_URI") if os.environ.get("ASSAY_MLFLOW_URI") else "",
        experiment=os.environ.get("ASSAY_MLFLOW_EXPERIMENT") or "assay",
    )


def resources_for(store: ExperimentStore) -> dict[str, Any]:
    """Return every resource on one store."""
    tables = DuckDBParquetIOManager(root=store.root)
    return {
        "io_manager": tables,  # of whatever names none; Dagster's own would pickle
        "store": store,
        "sections": SectionIOManager(store=store),
        "results": ResultIOManager(store=store),
        "tables": tables,
    }
