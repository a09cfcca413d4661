"""Asset ``normalized``: the experiment's table with scaled columns."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.spec.normalized import NormalizedSection
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
    context: dg.AssetExecutionContext,
    spec: StageConfig[NormalizedSection],
    tabular: StoredTable,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """The table with numbers scaled to 0 to 1 and categories as codes; the scaling is fitted on the training rows."""
    table = store.results.open("tabular", tabular.fingerprint)
    scaling = store.evaluated_scaling(spec)
    with store.build(context, spec, {"tabular": table}) as build:
        if build.needed:
            build.report = build_normalized(table.folder, spec.section, build.folder, build.progress, scaling)
    return materialized(build.result, stored_table(build.result))
