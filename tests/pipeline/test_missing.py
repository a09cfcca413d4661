"""What a backfill of "missing" or "failed and missing" partitions selects: what an experiment needs and lacks."""

import dagster as dg
import pytest

from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import SECTION_NAMES
from partitions.experiments import experiments

pytestmark = pytest.mark.system

ENTRANCE = ["experiment", *(f"spec_{name}" for name in SECTION_NAMES)]

TABLE = {"generated_images": {"source": {"kind": "table", "path": "t.csv", "target_column": "y"}}}

TASKS = {
    "regression": ("regression", {}),
    "classification": ("classification", {}),
    "rows of images": ("classification", {"trained_model": {"data_description": {"input": "normalized"}}}),
    "several classes": ("classification", {"trained_model": {"data_description": {"multi_label": True}}}),
    "detection": ("detection", {}),
    "segmentation": ("segmentation", {}),
    "a table": ("regression", TABLE),
    "classes of a table": ("classification", TABLE),
}


def statuses(lab, name):
    """Return what the UI, and its backfills, take the stages of an experiment for; None is missing."""
    found = {}
    for stage in STAGES:
        by_partition = lab.instance.get_status_by_partition(dg.AssetKey(stage), [name], experiments)
        status = (by_partition or {}).get(name)
        found[stage] = status.value if status else None
    return found


@pytest.mark.parametrize("kind", TASKS)
def test_a_stage_that_the_task_does_not_need_is_never_missing_and_all_others_are(lab, kind):
    task, keys = TASKS[kind]
    lab.write_plain("one", task=task, **keys)
    result = lab.run("one", assets=ENTRANCE)
    assert result.success, lab.failure(result)
    needed = needed_stages(lab.store.specs.load("one"))
    assert statuses(lab, "one") == {stage: None if stage in needed else "MATERIALIZED" for stage in STAGES}


def test_what_failed_or_was_not_reached_is_failed_and_the_rest_is_not_made_again(lab):
    lab.write("one", trained_model={"train_params": {"epochs": 2, "device": "cuda", "processes": 16}})
    assert not lab.run("one").success
    found = statuses(lab, "one")
    assert {stage for stage, status in found.items() if status == "FAILED"} == {
        "trained_model",
        "predictions",
        "analysis",
    }
    assert set(found.values()) == {"FAILED", "MATERIALIZED"}


def test_a_stage_that_becomes_needed_is_out_of_date(lab):
    lab.write("one", **TABLE)
    lab.run("one", assets=ENTRANCE)
    assert statuses(lab, "one")["crops"] == "MATERIALIZED"
    lab.write("one")
    assert lab.run("one", assets=ENTRANCE).success
    assert "crops" in lab.outdated("one")
