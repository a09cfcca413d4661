"""Asset ``predictions``: the model's predictions for the chosen subsets."""

from typing import Any

import dagster as dg
import polars as pl

from assay.datasets.schema import read_table_info
from assay.pipeline import StageConfig
from assay.spec.predictions import PredictionsSection
from assay.stages.predictions import predict
from assay.storage.results import Result
from assets.common import column_lineage, materialized, model_data, optional, spec_of, table_arguments, table_frame
from resources.experiment_store import ExperimentStore


@dg.asset(
    ins=spec_of("predictions") | optional("splits", "crops", "normalized"),
    **table_arguments("predictions", "learning", {"pytorch", "duckdb"}),
)
def predictions(
    context: dg.AssetExecutionContext,
    spec: StageConfig[PredictionsSection],
    trained_model: Result,
    splits: Result | None,
    crops: Result | None,
    normalized: pl.LazyFrame | None,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """The model's predictions for each item, next to its true target, with the probability of every class."""
    (kind,) = trained_model.report["trained_on"]
    data = model_data(store, splits, crops, normalized).require(kind)
    with store.build(context, spec, {"trained_model": trained_model, kind: data}) as build:
        if build.needed:
            build.report = predict(spec, trained_model, data, normalized, build.folder, build.progress)
    rows = table_frame(build.result)
    return materialized(build.result, rows, **lineage_of_predictions(rows, data, normalized))


def lineage_of_predictions(rows: pl.LazyFrame, data: Result, normalized: pl.LazyFrame | None) -> dict[str, Any]:
    """Return which columns of the model's table its predictions come from; nothing for a model of images."""
    if normalized is None or data.stage != "normalized":
        return {}
    info = read_table_info(data.folder)
    targets = dict.fromkeys(("target", "target_class", "target_labels"), info.target_column)
    return column_lineage(rows, "normalized", normalized, info.features, targets)
