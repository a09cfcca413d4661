"""The whole graph, materialized for real: both tasks, sharing, reuse, overrides, gates."""

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.spec.experiment import SECTION_NAMES
from assay.tables import read_parquet

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


def test_a_classification_goes_from_spec_to_analysis(lab):
    few_classes = {
        "kind": "numbers",
        "sample_count": 20,
        "max_number": 2,
        "max_amount": 3,
        "img_size": {"width": 96, "height": 96},
    }
    lab.write("cls", task="classification", generated_images={"source": few_classes})
    result = lab.run("cls")
    assert result.success, lab.failure(result)
    predictions = read_parquet(lab.results("cls")["predictions"].folder / "predictions.parquet")
    probabilities = predictions.select(pl.col("^prob_.*$")).sum_horizontal()
    assert probabilities.is_between(0.999, 1.001).all()


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


def test_a_shared_table_is_stored_once(two_runs):
    result = two_runs[0].results("one")["normalized"]
    assert (result.folder / "normalized.parquet").stat().st_nlink >= 3  # the result and one partition each


def test_the_same_spec_gives_the_same_bytes_in_another_storage(two_runs, lab):
    first = {stage: result.manifest["files"] for stage, result in two_runs[0].results("one").items()}
    lab.write("other")
    assert lab.run("other").success
    assert {stage: result.manifest["files"] for stage, result in lab.results("other").items()} == first


def test_a_partition_without_a_file_takes_the_template_and_the_launchpads_overrides(lab):
    config = {"ops": {"experiment": {"config": {"spec": {"task": "classification", "name": "from the UI"}}}}}
    result = lab.run("fresh", assets=["experiment", *(f"spec/{name}" for name in SECTION_NAMES)], config=config)
    assert result.success, lab.failure(result)
    spec = lab.store.specs.load("fresh")
    assert (spec.task, spec.name) == ("classification", "from the UI")


def test_a_wrong_override_is_refused_and_nothing_is_written(lab):
    config = {"ops": {"experiment": {"config": {"spec": {"sede": 1}}}}}
    result = lab.run("fresh", config=config)
    assert not result.success
    assert "Did you mean 'seed'?" in lab.failure(result)
    assert not (lab.folder / "experiments").exists()


def test_an_id_that_dagster_accepts_but_a_file_system_should_not_is_refused(lab):
    result = lab.run("../evil")
    assert not result.success
    assert "is not valid: expected 1 to 63 characters" in lab.failure(result)
    assert not (lab.folder.parent / "evil.yaml").exists()


def test_an_edit_during_a_run_does_not_reach_it(lab):
    lab.write("one")
    spec = lab.store.spec_of_run("run-1", "one")
    lab.write("one", seed=7)
    assert lab.store.spec_of_run("run-1", "one") == spec
    assert lab.store.spec_of_run("run-2", "one").seed == 7


def test_training_before_the_data_exist_says_what_to_materialize(lab):
    lab.write("one")
    result = lab.run("one", job="job_train")
    assert not result.success
    assert "normalized was never materialized. Materialize normalized first." in lab.failure(result)


def test_a_metric_gate_that_is_not_met_fails_its_check_but_keeps_the_result(lab):
    gate = {"kind": "metric", "subset": "test", "metric": "mae", "operator": "<", "value": 0.0}
    lab.write("one", exptests={"tests": [gate]})
    result = lab.run("one")
    evaluation = next(event for event in result.get_asset_check_evaluations() if event.check_name == "metric")
    assert not evaluation.passed
    assert "analysis" in lab.results("one")
    assert "False" in (lab.store.folders.find("one").path / "exp_tests.csv").read_text()


def test_a_blocking_leak_stops_training_in_this_run_and_in_a_later_one(lab):
    images = lab.folder / "images"
    make_leaking_folder(images)
    source = {"source": {"kind": "image_folder", "path": str(images)}}
    lab.write("leak", task="classification", generated_images=source)
    first = lab.run("leak")
    assert not first.success
    assert "trained_model" not in lab.results("leak")
    assert lab.run("leak", job="job_data_generation", assets=["crops"]).success
    later = lab.run("leak", job="job_train")
    assert not later.success
    assert "splits failed a blocking test, so it is not trained" in lab.failure(later)


def make_leaking_folder(folder):
    """Write class folders in which one train image is in test again, under another name."""
    generator = np.random.default_rng(0)
    for subset, count in (("train", 8), ("validation", 3), ("test", 3)):
        for name in ("cat", "dog"):
            place = folder / subset / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(place / f"{number}.png")
    (folder / "test" / "cat" / "copy.png").write_bytes((folder / "train" / "cat" / "0.png").read_bytes())


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_table_skips_the_image_stages(lab, task):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(80, 3))
    target = x[:, 0] * 2 + x[:, 1] if task == "regression" else np.where(x[:, 0] > 0, "up", "down")
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": target})
    frame.write_csv(lab.folder / "rows.csv")
    source = {"source": {"kind": "table", "path": str(lab.folder / "rows.csv"), "target_column": "y"}}
    lab.write("tab", task=task, generated_images=source)
    result = lab.run("tab")
    assert result.success, lab.failure(result)
    assert lab.results("tab")["crops"].report["crops"] == 0
    rows = read_parquet(lab.results("tab")["predictions"].folder / "predictions.parquet")
    assert len(rows) == 24


def test_changed_user_data_make_new_results_and_keep_the_old_until_collected(lab):
    images = lab.folder / "images"
    make_leaking_folder(images)
    (images / "test" / "cat" / "copy.png").unlink()
    source = {"source": {"kind": "image_folder", "path": str(images)}}
    lab.write("own", task="classification", generated_images=source)
    first = lab.run("own")
    assert first.success, lab.failure(first)
    before = lab.results("own")
    Image.new("RGB", (16, 16), (10, 200, 30)).save(images / "train" / "cat" / "0.png")
    assert lab.run("own").success
    after = lab.results("own")
    assert before["generated_images"].fingerprint != after["generated_images"].fingerprint
    assert before["trained_model"].folder.exists()
