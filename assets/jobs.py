"""The jobs of experiments and boards, each a selection of assets; their partitions are those of the assets."""

from typing import Any

import dagster as dg

from assay.backfills.launch import RETRY_TAGS
from assay.experiments.evaluation import newest_trained
from assay.experiments.last_run import VERIFIES_TAG
from assay.spec.ids import is_id
from assets.checks import VERIFIED, export_parity
from assets.common import SECTION_KEYS
from assets.launchpad import configured, how_to
from assets.maintenance import job_clearlocks, job_copy_exp
from assets.scored import job_scoring
from partitions.experiments import experiments
from resources.defaults import default_store

EXPERIMENT_KEYS = (dg.AssetKey("experiment"), *SECTION_KEYS.values())
EXPERIMENT = dg.AssetSelection.assets(*EXPERIMENT_KEYS)
VERIFICATION, PARITY = dg.AssetSelection.checks(VERIFIED), dg.AssetSelection.checks(export_parity)
ON_REQUEST = VERIFICATION | PARITY
"""Checks that no job runs along with its assets."""
DATA = dg.AssetSelection.assets("generated_images", "splits", "crops", "tabular", "normalized")
TRAINING = dg.AssetSelection.assets("trained_model", "training_history", "predictions", "analysis")


def evaluation_config(experiment_id: str) -> dict[str, Any]:
    """Return the configuration that ``job_eval`` begins with: of an experiment without a file, whose model to evaluate.

    Args:
        experiment_id: The partition; one that has a file is configured by that alone.
    """
    store = default_store()
    if not is_id(experiment_id) or store.specs.exists(experiment_id):
        return {}
    newest = newest_trained(store.locations)
    return configured({"existing_experiment": newest}) if newest else {}


job_data_generation = dg.define_asset_job(
    "job_data_generation",
    selection=EXPERIMENT | DATA,
    tags=RETRY_TAGS,
    description="Make an experiment's data and no model: images, splits, crops and tables. To look at data before "
    f"anything is trained on them. {how_to({'task': 'classification', 'splits': {'seed': 1}})}",
)
job_train = dg.define_asset_job(
    "job_train",
    selection=(EXPERIMENT | TRAINING) - ON_REQUEST,
    tags=RETRY_TAGS,
    description="Train a model on data that job_data_generation made before, predict, analyse the predictions and run "
    "the experiment tests. To try another training without waiting for the data. "
    f"{how_to({'trained_model': {'learner': {'learning_rate': 0.002}}})}",
)
job_experiment = dg.define_asset_job(
    "job_experiment",
    selection=(EXPERIMENT | DATA | TRAINING) - ON_REQUEST,
    tags=RETRY_TAGS,
    description="Make the whole experiment: data, model, predictions, analysis and experiment tests; what exists is "
    "found. What automation and `assay run` start; if the spec names an existing_experiment, its model is evaluated "
    f"instead of training one. {how_to({'task': 'regression', 'trained_model': {'train_params': {'epochs': 20}}})}",
)

job_eval = dg.define_asset_job(
    "job_eval",
    selection=(EXPERIMENT | DATA | TRAINING) - ON_REQUEST,
    config=dg.PartitionedConfig(experiments, run_config_for_partition_key_fn=evaluation_config),
    tags=RETRY_TAGS,
    description="Evaluate the model of an existing experiment and never train: find that experiment, take over its "
    "model and what the spec leaves out, make this experiment's own data, predict and analyse them, and run the "
    "experiment tests. Refuses an experiment that names none; for a new partition, the Launchpad suggests the newest "
    f"model. {how_to({'existing_experiment': 'ab12'})}",
)

job_report = dg.define_asset_job(
    "job_report",
    selection=dg.AssetSelection.assets("report"),
    tags=RETRY_TAGS,
    description="Write one page about an experiment, which needs no network: data, training, metrics, pictures, tests, "
    "origin. Of an unfinished experiment it shows what there is. On the command line: `assay report ID`.",
)

job_champion = dg.define_asset_job(
    "job_champion",
    selection=dg.AssetSelection.assets("champion"),
    tags=RETRY_TAGS,
    description="Let all finished experiments compete for the boards that their specs name. A champion changes only "
    "for an experiment that passes its tests and is surely better on the same items; everything else keeps it. Started "
    "by `follow_boards`; by hand for another look, which changes nothing where nothing is new.",
)

# Dagster infers no partitions from checks alone.
PARTITIONED = dg.PartitionedConfig(experiments, run_config_for_partition_key_fn=lambda _: {})

job_verify = dg.define_asset_job(
    "job_verify",
    selection=VERIFICATION,
    config=PARTITIONED,
    tags={VERIFIES_TAG: "true"},
    description="Make all results of a finished experiment anew in an empty storage, and compare them byte by byte "
    "with those that are stored, of which nothing changes. It takes as long as the experiment did; like "
    "`assay verify ID`.",
)

job_export_parity = dg.define_asset_job(
    "job_export_parity",
    selection=PARITY,
    config=PARTITIONED,
    description="Check whether the model of an experiment, exported to ONNX, gives the same numbers and decisions on "
    "its test items. Nothing is written. Needs the extra 'onnx'.",
)

EXPERIMENT_JOBS = (job_data_generation, job_train, job_eval, job_experiment)
"""The jobs that run for one experiment at a time."""

CHECK_JOBS = (job_verify, job_export_parity)
"""The jobs of the checks that no other job runs."""

JOBS = (*EXPERIMENT_JOBS, job_report, job_champion, job_scoring, *CHECK_JOBS, job_copy_exp, job_clearlocks)
