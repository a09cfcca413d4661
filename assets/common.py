"""Names that several asset files share: the keys of spec sections, and the arguments common to all stages.

Belongs here: keys and keyword arguments. Does not belong here: assets.
"""

from typing import Any

import dagster as dg

from assay.pipeline import STAGES
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec
from assets.automation import FOLLOWS_INPUTS
from partitions.experiments import experiments

SECTION_KEYS = {name: dg.AssetKey(["spec", name]) for name in SECTION_NAMES}


def spec_of(section: str) -> dict[str, dg.AssetIn]:
    """Return the input ``spec``: the section of the experiment that an asset reads, and nothing else."""
    return {"spec": dg.AssetIn(SECTION_KEYS[section])}


def optional(*names: str) -> dict[str, dg.AssetIn]:
    """Return inputs that may be missing, because not every task reads them."""
    return {name: dg.AssetIn(name, metadata={"optional": True}) for name in names}


def stage_arguments(name: str, group: str, kinds: set[str]) -> dict[str, Any]:
    """Return what every stage's asset has in common."""
    return {
        "partitions_def": experiments,
        "code_version": STAGES[name].code_version,
        "group_name": group,
        "kinds": kinds,
        "automation_condition": FOLLOWS_INPUTS if STAGES[name].inputs else None,
    }


def tags_of(spec: ExperimentSpec) -> dict[str, str]:
    """Return the tags of an experiment's runs: its task and its own tags, by which the UI filters."""
    return {"assay/task": spec.task, **{f"assay/{name}": value for name, value in spec.tags.items()}}
