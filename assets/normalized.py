"""Asset ``normalized``: the experiment's table with scaled columns."""

from typing import Any

import dagster as dg
import polars as pl

from assay.pipeline import StageConfig
from assay.spec.normalized import NormalizedSection
from assay.stages.normalized import build_normalized
from assets.common import column_lineage, materialized, not_needed, optional, spec_of, table_arguments, table_frame
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("normalized") | optional("tabular"),
    **table_arguments("normalized", "data", {"duckdb", "polars"}),
)
def normalized(
    context: dg.AssetExecutionContext,
    spec: StageConfig[NormalizedSection],
    tabular: pl.LazyFrame | None,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """The table without gaps, with numbers scaled and categories as codes; all of it is fitted on the training rows."""
    if reason := store.why_not_needed(context, "normalized"):
        return not_needed(reason)
    table, tabular = store.table_of("tabular", tabular)
    scaling = store.evaluated_scaling(spec)
    with store.build(context, spec, {"tabular": table}) as build:
        if build.needed:
            build.report = build_normalized(tabular, table.folder, spec.section, build.folder, build.progress, scaling)
    rows = table_frame(build.result)
    report = build.result.report
    made = dict(report.get("columns_of_dates") or {})
    made |= {mark: made.get(name, name) for mark, name in (report.get("columns_of_gaps") or {}).items()}
    return materialized(build.result, rows, **column_lineage(rows, "tabular", tabular, renamed=made))
