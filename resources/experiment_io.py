"""I/O managers for what is not a table: slices of specs, and result folders.

Belongs here: how assets hand these over. Does not belong here: tables (``duckdb_io_manager``), building results.
"""

from typing import Any

import dagster as dg

from assay.errors import StorageError
from assay.experiments.contents import read_pointer, write_pointer
from assay.pipeline import Slice, slice_of
from assay.spec.ids import validate_id
from assay.storage.results import Result
from resources.experiment_store import ExperimentStore


class SliceIOManager(dg.ConfigurableIOManager):
    """Gives an asset the section of the spec that it reads, as it was when the run started."""

    store: ExperimentStore

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Do nothing: the ``experiment`` asset has frozen the spec already."""

    def load_input(self, context: dg.InputContext) -> Slice:
        """Return the slice named by the last part of the asset key."""
        experiment_id = validate_id(context.partition_key)
        spec = self.store.spec_of_run(_run_id(context), experiment_id)
        return slice_of(spec, experiment_id, context.asset_key.path[-1])


class ResultIOManager(dg.ConfigurableIOManager):
    """Remembers which result folder an experiment's asset is: one small pointer file each."""

    store: ExperimentStore

    def handle_output(self, context: dg.OutputContext, obj: Result) -> None:
        """Point the experiment's asset to its result."""
        write_pointer(self.store.path, context.partition_key, _name_of(context.asset_key), obj)

    def load_input(self, context: dg.InputContext) -> Result | None:
        """Return the result that the upstream asset points to; None when it is optional and absent.

        Raises:
            StorageError: It was never materialized, or its folder is gone.
        """
        found = read_pointer(self.store.path, context.partition_key, _name_of(context.asset_key))
        if found is None and not (context.definition_metadata or {}).get("optional"):
            name, experiment_id = context.asset_key.to_user_string(), context.partition_key
            raise StorageError(f"Experiment {experiment_id!r} has no {name} yet. Materialize {name} first.")
        return found


def _name_of(key: dg.AssetKey) -> str:
    return "__".join(key.path)


def _run_id(context: dg.InputContext) -> str:
    return context.step_context.run_id
