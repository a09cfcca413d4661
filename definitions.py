"""All that Dagster loads, in the order of the pipeline; the only file that imports every module of assets.

Belongs here: wiring. Does not belong here: assets, resources, logic.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets import (
    analysis,
    champion,
    checks,
    crops,
    experiment,
    generated_images,
    normalized,
    predictions,
    report,
    splits,
    tabular,
)
from assets import scored as scoring
from assets import trained_model as training
from assets.automation import follow_upstream
from assets.common import with_code_references
from assets.jobs import JOBS
from assets.scored import nightly_scoring
from assets.sensors import follow_boards, follow_code, follow_files, nightly_evaluation, update_warehouse
from resources.defaults import default_store, resources_for

SENSORS = [follow_files, follow_upstream, follow_code, follow_boards, update_warehouse]

ASSET_MODULES = [
    experiment,
    generated_images,
    splits,
    crops,
    tabular,
    normalized,
    training,
    predictions,
    analysis,
    report,
    champion,
    scoring,
]

ASSETS = with_code_references(dg.load_assets_from_modules(ASSET_MODULES, include_specs=True), Path(__file__).parent)


def build_defs(resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions; tests and ``assay run`` replace some of the resources."""
    return dg.Definitions(
        assets=ASSETS,
        asset_checks=dg.load_asset_checks_from_modules([checks]),
        jobs=JOBS,
        schedules=[nightly_evaluation, nightly_scoring],
        sensors=SENSORS,
        resources=resources_for(default_store()) | dict(resources or {}),
        # One process per run: starting a process and its imports takes longer than most stages.
        executor=dg.in_process_executor,
    )


defs = build_defs()
