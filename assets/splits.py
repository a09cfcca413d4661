"""Asset ``splits``: the split into training, validation and test data."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.spec.splits import SplitsSection
from assay.stages.splits import build_splits
from assay.storage.results import Result
from assets.common import materialized, spec_of, stage_arguments
from resources.experiment_store import ExperimentStore


@dg.asset(ins=spec_of("splits"), io_manager_key="results", **stage_arguments("splits", "data", {"polars"}))
def splits(
    context: dg.AssetExecutionContext,
    spec: StageConfig[SplitsSection],
    generated_images: Result,
    store: ExperimentStore,
) -> dg.MaterializeResult[Any]:
    """The split into subsets such as train, validation and test: exact shares, reproducible, groups kept together."""
    with store.build(context, spec, {"generated_images": generated_images}) as build:
        if build.needed:
            source = generated_images.folder
            build.report = build_splits(source, spec.section, spec.seed, build.folder, build.progress)
    return materialized(build.result)
