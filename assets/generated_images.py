"""Asset ``generated_images``: the experiment's raw data, generated or the user's own."""

from typing import Any

import dagster as dg

from assay.pipeline import StageConfig
from assay.spec.generated_images import GeneratedImagesSection
from assay.stages.generated_images import build_source, check_stored, content_digest
from assets.common import materialized, spec_of, stage_arguments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure


@dg.asset(
    ins=spec_of("generated_images"), io_manager_key="results", **stage_arguments("generated_images", "data", {"pillow"})
)
def generated_images(
    context: dg.AssetExecutionContext, spec: StageConfig[GeneratedImagesSection], store: ExperimentStore
) -> dg.MaterializeResult[Any]:
    """The experiment's raw data: generated images, or the user's own images or table, with every file checked."""
    with as_failure(f"Experiment {context.partition_key}, generated_images"):
        digest = content_digest(spec, store.path)
    with store.build(context, spec, {"source": digest}) as build:
        if build.needed:
            build.report = build_source(spec, build.folder, build.progress)
        else:
            check_stored(spec, build.result.folder)
    return materialized(build.result)
