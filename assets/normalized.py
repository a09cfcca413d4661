"""The experiment's table with scaled columns."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.stages.normalized import build_normalized
from assay.storage.parquet import StoredTable
from assets.common import materialized, spec_of, stage_arguments, stored_table
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("normalized"),
    io_manager_key="tables",
    **stage_arguments("normalized", "data", {"duckdb", "polars"}),
)
def normalized(
    context: dg.AssetExecutionContext, spec: StageConfig, tabular: StoredTable, store: ExperimentStore
) -> dg.MaterializeResult[Any]:
    """Numbers from 0 to 1, classes as codes; fitted on the training rows, stored, and only applied to the others."""
    table = store.results.open("tabular", tabular.fingerprint)
    scaling = store.adopted_scaling(context, spec)
    result = store.build(
        context,
        spec,
        {"tabular": table},
        lambda folder, progress: build_normalized(table.folder, spec.section, folder, progress, scaling),
    )
    return materialized(result, stored_table(result))
