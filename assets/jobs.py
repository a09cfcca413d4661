"""The jobs: selections of assets, named as users know them. Partitions follow from the assets."""

import dagster as dg

from assay.backfills.launch import RETRY_TAGS
from assets.common import SECTION_KEYS
from assets.maintenance import job_clearlocks, job_copy_exp

EXPERIMENT_KEYS = (dg.AssetKey("experiment"), *SECTION_KEYS.values())
EXPERIMENT = dg.AssetSelection.assets(*EXPERIMENT_KEYS)
DATA = dg.AssetSelection.assets("generated_images", "splits", "crops", "tabular", "normalized")
LEARNING = dg.AssetSelection.assets("trained_model", "training_history", "predictions", "analysis")

job_data_generation = dg.define_asset_job(
    "job_data_generation",
    selection=EXPERIMENT | DATA,
    tags=RETRY_TAGS,
    description="Make an experiment's data: images, splits, crops, tables.",
)
job_train = dg.define_asset_job(
    "job_train",
    selection=EXPERIMENT | LEARNING,
    tags=RETRY_TAGS,
    description="Train, predict and analyse on data that exist already, then test the experiment.",
)
job_experiment = dg.define_asset_job(
    "job_experiment",
    selection=EXPERIMENT | DATA | LEARNING,
    tags=RETRY_TAGS,
    description="Everything, from the spec to the analysis and the experiment tests.",
)

job_eval = dg.define_asset_job(
    "job_eval",
    selection=EXPERIMENT | DATA | LEARNING,
    tags=RETRY_TAGS,
    description="Evaluate the model of an existing experiment on the data of this one's spec, then test. In the "
    "Launchpad: ops: {experiment: {config: {spec: {existing_experiment: ID}}}}.",
)

EXPERIMENT_JOBS = (job_data_generation, job_train, job_eval, job_experiment)
"""The jobs that run for an experiment."""

JOBS = (*EXPERIMENT_JOBS, job_copy_exp, job_clearlocks)
