"""The jobs of experiments, each a selection of assets; their partitions are those of the assets."""

import dagster as dg

from assay.backfills.launch import RETRY_TAGS
from assets.common import SECTION_KEYS
from assets.launchpad import HOW_TO
from assets.maintenance import job_clearlocks, job_copy_exp

EXPERIMENT_KEYS = (dg.AssetKey("experiment"), *SECTION_KEYS.values())
EXPERIMENT = dg.AssetSelection.assets(*EXPERIMENT_KEYS)
DATA = dg.AssetSelection.assets("generated_images", "splits", "crops", "tabular", "normalized")
TRAINING = dg.AssetSelection.assets("trained_model", "training_history", "predictions", "analysis")

job_data_generation = dg.define_asset_job(
    "job_data_generation",
    selection=EXPERIMENT | DATA,
    tags=RETRY_TAGS,
    description="Prepare an experiment's data: images, splits, crops and tables.",
)
job_train = dg.define_asset_job(
    "job_train",
    selection=EXPERIMENT | TRAINING,
    tags=RETRY_TAGS,
    description="Train a model on existing data, predict, analyse the predictions and run the experiment tests.",
)
job_experiment = dg.define_asset_job(
    "job_experiment",
    selection=EXPERIMENT | DATA | TRAINING,
    tags=RETRY_TAGS,
    description=f"Run the whole pipeline, from the spec to the analysis and the experiment tests. {HOW_TO}",
)

job_eval = dg.define_asset_job(
    "job_eval",
    selection=EXPERIMENT | DATA | TRAINING,
    tags=RETRY_TAGS,
    description="Evaluate the model of an existing experiment on this experiment's data, then run the experiment "
    "tests. In the Launchpad: ops: {experiment: {config: {spec: {existing_experiment: ID}}}}.",
)

EXPERIMENT_JOBS = (job_data_generation, job_train, job_eval, job_experiment)
"""The jobs that run for one experiment at a time."""

JOBS = (*EXPERIMENT_JOBS, job_copy_exp, job_clearlocks)
