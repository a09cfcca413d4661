"""Asset ``tabular``: the experiment's table, one row per item."""

from typing import Any

import dagster as dg

from assay.datasets.table import ROWS_FILE
from assay.pipeline import StageConfig
from assay.spec.tabular import TabularSection
from assay.stages.tabular import build_tabular
from assay.storage.results import Result
from assets.common import ModelData, materialized, not_needed, optional, spec_of, table_arguments, table_frame
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("tabular") | optional("crops"),
    **table_arguments("tabular", "data", {"duckdb", "polars"}),
)
def tabular(
    context: dg.AssetExecutionContext,
    spec: StageConfig[TabularSection],
    generated_images: Result,
    splits: Result,
    crops: Result | None,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """A table with one row per crop and its grey pixels as columns, or the user's own table with each row's subset."""
    if reason := store.why_not_needed(context, "tabular"):
        return not_needed(reason)
    source = generated_images.folder
    from_table = (source / ROWS_FILE).exists()
    used_crops = None if from_table else ModelData(splits, crops).require("crops")
    data = {"crops": used_crops} if used_crops else {"generated_images": generated_images}
    with store.build(context, spec, {"splits": splits, **data}) as build:
        if build.needed:
            cut = used_crops.folder if used_crops else None
            build.report = build_tabular(source, splits.folder, cut, spec.section, build.folder, build.progress)
    return materialized(build.result, table_frame(build.result))
