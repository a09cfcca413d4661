"""The whole graph, materialized for real: from spec to analysis, sharing, reuse, the same bytes."""

import dagster as dg
import pytest

from assay.experiments.last_run import FAILURE_TAG
from assay.pipeline import STAGES
from assay.storage import warehouse
from assay.storage.parquet import read_parquet
from assets.checks import TEST_CHECK_KEYS
from assets.experiment import SPEC_CHECK_KEY
from definitions import build_defs
from resources.defaults import resources_for
from resources.failures import failure_tags

pytestmark = pytest.mark.system

DATA = ("generated_images", "splits", "crops", "tabular", "normalized")


def data_versions(result):
    events = result.get_asset_materialization_events()
    return {
        event.asset_key.to_user_string(): event.materialization.tags.get("dagster/data_version") for event in events
    }


def test_a_regression_goes_from_spec_to_analysis(two_runs):
    lab, result, _, _ = two_runs
    assert result.success, lab.failure(result)
    results = lab.results("one")
    analysis = read_parquet(results["analysis"].folder / "analysis.parquet")
    assert set(analysis["subset"]) == {"validation", "test"}
    assert set(analysis["metric"]) >= {"mae", "mse", "r2"}
    assert data_versions(result)["analysis"] == results["analysis"].fingerprint
    checks = {event.check_name: event.passed for event in result.get_asset_check_evaluations()}
    assert set(checks) >= {"split_leakage", "models_saved", "files_exist", "no_missing_values", "beats_baseline"}
    assert checks["split_leakage"]
    assert checks["models_saved"]


def test_the_experiments_folder_is_complete_and_portable(two_runs):
    lab = two_runs[0]
    folder = lab.store.folders.find("one").path
    for name in (
        "experiment_info.yaml",
        "git_versions.yaml",
        "environment.yaml",
        "configs/trained_model/config.yaml",
        "datasetsstats/splits.yaml",
        "models/model.safetensors",
        "train_logs.csv",
        "predictions/predictions.parquet",
        "analysis/analysis.parquet",
        "exp_tests.csv",
        "manifest.json",
    ):
        assert (folder / name).is_file(), name
    assert not list(folder.rglob(".tmp-*"))


def test_metadata_show_pictures_numbers_and_the_fingerprint(two_runs):
    result = two_runs[1]
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        if event.asset_key.path[0] in ("generated_images", "crops", "trained_model", "analysis"):
            assert any(
                isinstance(value, dg.MarkdownMetadataValue) and "data:image/png;base64" in value.value
                for value in metadata.values()
            ), event.asset_key


def test_metadata_show_which_columns_come_from_which(two_runs):
    events = {
        event.asset_key.path[0]: event.materialization.metadata
        for event in two_runs[1].get_asset_materialization_events()
    }
    shown = {
        name: {
            column: sorted(dep.column_name for dep in deps)
            for column, deps in events[name]["dagster/column_lineage"].value.deps_by_column.items()
        }
        for name in ("normalized", "predictions", "analysis")
    }
    assert shown["normalized"]["px_*"] == ["px_*"]
    assert shown["predictions"] == {
        "item": ["item"],
        "image": ["image"],
        "subset": ["subset"],
        "target": ["target"],
        "prediction": ["px_*"],
    }
    assert shown["analysis"]["value"] == ["prediction", "target"]


def test_an_experiment_that_differs_only_in_training_builds_no_data_stage(two_runs):
    lab, _, before, second = two_runs
    assert second.success, lab.failure(second)
    one, two = lab.results("one"), lab.results("two")
    for stage in DATA:
        assert one[stage].fingerprint == two[stage].fingerprint
        assert len(list((lab.folder / "storage" / "data" / stage).iterdir())) == 1
    assert one["trained_model"].fingerprint != two["trained_model"].fingerprint
    changed = [path for path, mtime in before.items() if path.is_file() and path.stat().st_mtime_ns != mtime]
    assert changed == []


def costs_in_metadata(result):
    """Return what the UI shows of the cost of each stage."""
    return {
        event.asset_key.path[0]: {
            name: getattr(value, "value", value)
            for name, value in event.materialization.metadata.items()
            if name.partition("/")[0] == "cost"
        }
        for event in result.get_asset_materialization_events()
        if event.asset_key.path[0] in STAGES
    }


def test_metadata_show_what_a_result_cost_and_the_same_where_it_is_reused(two_runs):
    first, second = (costs_in_metadata(result) for result in (two_runs[1], two_runs[3]))
    names = {"wall_s", "cpu_s", "gpu_s", "peak_memory_mb", "attempts", "machine", "made_for", "built"}
    for stage, shown in first.items():
        assert shown.keys() == {f"cost/{name}" for name in names}, stage
        assert shown["cost/made_for"] == "one"
        assert shown["cost/peak_memory_mb"] > 50
    assert {stage: second[stage] for stage in DATA} == {stage: first[stage] for stage in DATA}
    assert second["trained_model"]["cost/made_for"] == "two"


def test_sql_tells_what_each_experiment_cost_and_what_it_reused(two_runs):
    lab = two_runs[0]
    query = "select stage, reused, wall_s, cpu_s, bytes from costs where experiment_id = ? order by stage"
    rows = {name: warehouse.query(lab.store.path, query.replace("?", f"'{name}'")) for name in ("one", "two")}
    assert rows["one"]["stage"].to_list() == rows["two"]["stage"].to_list() == sorted(STAGES)
    assert set(rows["one"]["reused"]) == {False}
    assert {row["stage"] for row in rows["two"].iter_rows(named=True) if row["reused"]} == set(DATA)
    assert rows["one"].null_count().sum_horizontal().item() == 0
    sizes = {stage: result.size_bytes for stage, result in lab.results("one").items()}
    assert dict(rows["one"].select("stage", "bytes").iter_rows()) == sizes


def test_a_shared_table_is_stored_once(two_runs):
    result = two_runs[0].results("one")["normalized"]
    assert (result.folder / "normalized.parquet").stat().st_nlink >= 3  # the result and one partition each


def test_the_same_spec_gives_the_same_bytes_in_another_storage(two_runs, lab):
    first = {stage: result.manifest["files"] for stage, result in two_runs[0].results("one").items()}
    lab.write("other")
    assert lab.run("other").success
    assert {stage: result.manifest["files"] for stage, result in lab.results("other").items()} == first


def test_a_metric_gate_that_is_not_met_fails_its_check_but_keeps_the_result(two_runs):
    lab = two_runs[0]
    gate = {"kind": "metric", "subset": "test", "metric": "mae", "operator": "<", "value": 0.0}
    lab.write("gated", exptests={"tests": [gate]})
    result = lab.run("gated")
    evaluation = next(event for event in result.get_asset_check_evaluations() if event.check_name == "metric")
    assert not evaluation.passed
    assert "analysis" in lab.results("gated")
    assert "False" in (lab.store.folders.find("gated").path / "exp_tests.csv").read_text()


def evaluations(result):
    """Return the verdicts of a run's checks by name, all of which the run was to give."""
    return {event.check_name: event.passed for event in result.get_asset_check_evaluations()}


def test_a_run_gives_every_check_a_verdict_and_one_of_them_alone_gives_only_its_own(two_runs):
    lab, first = two_runs[:2]
    assert set(evaluations(first)) == {key.name for key in (SPEC_CHECK_KEY, *TEST_CHECK_KEYS)}
    (metric,) = [key for key in TEST_CHECK_KEYS if key.name == "metric"]
    whole = build_defs(resources_for(lab.store)).resolve_implicit_global_asset_job_def()
    alone = whole.get_subset(asset_selection=set(), asset_check_selection={metric})
    before = (lab.store.folders.find("one").path / "exp_tests.csv").read_bytes()
    result = alone.execute_in_process(instance=lab.instance, partition_key="one", raise_on_error=False)
    assert result.success, lab.failure(result)
    assert evaluations(result) == {"metric": True}
    assert (lab.store.folders.find("one").path / "exp_tests.csv").read_bytes() == before


FALLEN = """
from typing import Literal
from assay.spec.exptests import TestKind, TestSection
class Fallen(TestSection):
    kind: Literal["fallen"] = "fallen"
def run(test, files):
    raise ValueError("fell over")
KIND = TestKind(Fallen, run)
"""


def test_a_test_that_falls_over_fails_the_run_but_hides_no_verdict_of_another(two_runs, install_package):
    lab = two_runs[0]
    install_package("assay.tests", "fallen", "fallen_tests:KIND", fallen_tests=FALLEN)
    gate = {"kind": "metric", "subset": "test", "metric": "mae", "operator": "<", "value": 0.0}
    lab.write("fallen", exptests={"tests": [gate, {"kind": "files_exist"}, {"kind": "fallen"}]})
    result = lab.run("fallen")
    assert not result.success
    assert "fell over" in lab.failure(result)
    found = evaluations(result)
    assert (found["metric"], found["files_exist"]) == (False, True)
    assert "further_tests" not in found
    rows = (lab.store.folders.find("fallen").path / "exp_tests.csv").read_text()
    assert "metric" in rows
    assert "files_exist" in rows
    failures = [event for event in result.all_events if event.is_step_failure]
    checks = [event for event in result.all_events if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION]
    assert "fell over" in failure_tags(failures, checks)[FAILURE_TAG]  # not the metric, which fails no run
