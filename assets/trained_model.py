"""Assets ``trained_model`` and ``training_history``: the trained model and its metrics per epoch."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assay.pipeline import STAGES, StageConfig
from assay.spec.trained_model import TrainedModelSection
from assay.stages.trained_model import train
from assay.storage.results import Result
from assets.automation import FOLLOWS_INPUTS
from assets.common import (
    BY_EXPERIMENT,
    OWNERS,
    STORES_FOLDER,
    STORES_TABLE,
    TRAINING_POOL,
    lineage,
    materialized,
    model_data,
    optional,
    spec_of,
    table_frame,
)
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore


@dg.multi_asset(
    name="trained_model",
    ins=spec_of("trained_model") | optional("splits", "crops", "normalized"),
    outs={
        "trained_model": dg.AssetOut(
            io_manager_key="results",
            kinds={"pytorch"},
            owners=OWNERS,
            tags=STORES_FOLDER,
            description="The trained network: its weights, logs and learning curves; or that of another experiment.",
            automation_condition=FOLLOWS_INPUTS,
        ),
        "training_history": dg.AssetOut(
            io_manager_key="tables",
            metadata=BY_EXPERIMENT,
            kinds={"duckdb"},
            owners=OWNERS,
            tags=STORES_TABLE,
            description="The model's metrics after each epoch of training.",
        ),
    },
    group_name="learning",
    code_version=STAGES["trained_model"].code_version,
    partitions_def=experiments,
    pool=TRAINING_POOL,
)
def trained_model(
    context: dg.AssetExecutionContext,
    spec: StageConfig[TrainedModelSection],
    splits: Result | None,
    crops: Result | None,
    normalized: pl.LazyFrame | None,
    store: ExperimentStore,
) -> Iterator[dg.MaterializeResult[Any]]:
    """A trained network with the weights of its best epoch; or, in an evaluation, that of another experiment."""
    if spec.found is not None:
        result = store.publish_evaluated_model(context, spec)
    else:
        kind = spec.section.data_description.input
        data = model_data(store, splits, crops, normalized).require(str(kind))
        store.require_passed(context, data)
        with store.build(context, spec, {data.stage: data}) as build:
            if build.needed:
                with store.cores(context, spec.section.train_params.threads, build=build):
                    build.report = train(spec, data, normalized, build.folder, build.progress, build.scratch)
        result = build.result
    shown = materialized(result)
    metadata = {**lineage(spec.found), **(shown.metadata or {})}
    yield shown._replace(asset_key=dg.AssetKey("trained_model"), metadata=metadata)
    history = table_frame(result, "training_history")
    yield dg.MaterializeResult(
        asset_key="training_history", value=history, data_version=dg.DataVersion(result.fingerprint)
    )
