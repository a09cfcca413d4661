"""The experiment's table: one row per item."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.spec.tabular import TabularSection
from assay.stages.tabular import build_tabular
from assay.storage.results import Result
from assets.common import LearningData, materialized, optional, spec_of, stage_arguments, stored_table
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("tabular") | optional("crops"),
    io_manager_key="tables",
    **stage_arguments("tabular", "data", {"duckdb", "polars"}),
)
def tabular(
    context: dg.AssetExecutionContext,
    spec: StageConfig[TabularSection],
    generated_images: Result,
    splits: Result,
    crops: Result | None,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """One row per crop with its grey pixels as columns; or the user's own table, each row in its subset."""
    from_table = (generated_images.folder / "rows.parquet").exists()
    cut = None if from_table else LearningData(splits, crops, None).named("crops")
    read = {"crops": cut} if cut else {"generated_images": generated_images}
    with store.build(context, spec, {"splits": splits, **read}) as build:
        if build.needed:
            pictures = cut.folder if cut else None
            source = generated_images.folder
            build.report = build_tabular(source, splits.folder, pictures, spec.section, build.folder, build.progress)
    return materialized(build.result, stored_table(build.result))
