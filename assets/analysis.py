"""Asset ``analysis``: how good the model is."""

from typing import Any

import dagster as dg
import polars as pl

from assay.pipeline import StageConfig
from assay.spec.analysis import AnalysisSection
from assay.stages.analysis import analyse
from assay.storage.results import Result
from assets.common import column_lineage, materialized, model_data, optional, spec_of, table_arguments, table_frame
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("analysis") | optional("splits", "crops", "normalized"),
    **table_arguments("analysis", "learning", {"duckdb"}),
)
def analysis(
    context: dg.AssetExecutionContext,
    spec: StageConfig[AnalysisSection],
    trained_model: Result,
    predictions: pl.LazyFrame,
    splits: Result | None,
    crops: Result | None,
    normalized: pl.LazyFrame | None,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """Metrics of the model per subset, with confidence intervals and a baseline, plots of errors, and next steps."""
    data = model_data(store, splits, crops, normalized)
    (kind,) = trained_model.report["trained_on"]
    predicted = store.table_of("predictions", predictions)[0]
    inputs = {"trained_model": trained_model, "predictions": predicted, kind: data.require(kind)}
    if data.shown_crops is not None and store.reads(context, "analysis", "crops"):
        inputs["crops"] = data.shown_crops
    with store.build(context, spec, inputs) as build:
        if build.needed:
            build.report = analyse(spec, predictions, inputs, inputs[kind], normalized, build.folder, build.progress)
    rows = table_frame(build.result)
    answers = [name for name in predictions.collect_schema() if name not in ("item", "image", "subset")]
    return materialized(build.result, rows, **column_lineage(rows, "predictions", predictions, answers))
