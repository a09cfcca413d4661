"""The resources that definitions use unless told otherwise; the only place that reads environment variables."""

import os
from typing import Any

from resources.duckdb_io_manager import DuckDBParquetIOManager
from resources.experiment_io import ResultIOManager, SliceIOManager
from resources.experiment_store import ExperimentStore
from resources.progress import ProgressReporter


def default_store(reporter: ProgressReporter | None = None) -> ExperimentStore:
    """Return the store in $ASSAY_STORAGE (./storage) with the specs of $ASSAY_EXPERIMENTS (./experiments).

    Further locations are named in $ASSAY_LOCATIONS (./locations.yaml).
    """
    return ExperimentStore(
        root=os.environ.get("ASSAY_STORAGE") or "storage",
        experiments_folder=os.environ.get("ASSAY_EXPERIMENTS") or "experiments",
        locations_file=os.environ.get("ASSAY_LOCATIONS") or "locations.yaml",
        reporter=reporter or ProgressReporter(),
    )


def resources_for(store: ExperimentStore) -> dict[str, Any]:
    """Return every resource on one store."""
    return {
        "store": store,
        "slices": SliceIOManager(store=store),
        "results": ResultIOManager(store=store),
        "tables": DuckDBParquetIOManager(root=store.root),
    }
