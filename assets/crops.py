"""Asset ``crops``: the labelled objects, cut out of their images."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.spec.crops import CropsSection
from assay.stages.crops import build_crops
from assay.storage.results import Result
from assets.common import materialized, not_needed, spec_of, stage_arguments
from resources.experiment_store import ExperimentStore


@dg.asset(ins=spec_of("crops"), io_manager_key="results", **stage_arguments("crops", "data", {"pillow"}))
def crops(
    context: dg.AssetExecutionContext, spec: StageConfig[CropsSection], splits: Result, store: ExperimentStore
) -> dg.MaterializeResult[Any]:
    """One image per labelled object, in the subset of its source image; whole images if each has a single label."""
    if reason := store.why_not_needed(context, "crops"):
        return not_needed(reason)
    with store.build(context, spec, {"splits": splits}) as build:
        if build.needed:
            build.report = build_crops(splits.folder, spec.section, build.folder, build.progress)
    return materialized(build.result)
