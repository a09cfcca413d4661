"""Single runs for real: classification, tables, overrides, gates, changed data."""

import dagster as dg
import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.cli.run import is_finished
from assay.spec.experiment import SECTION_NAMES
from assay.storage.parquet import read_parquet
from assay.storage.partitions import place_of
from tests.pipeline.conftest import Lab

pytestmark = pytest.mark.system

SPEC_ASSETS = [f"spec_{name}" for name in SECTION_NAMES]


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
    assert lab.outdated("cls") == ()


def test_a_partition_without_a_file_takes_the_template_and_the_launchpads_overrides(lab):
    config = {"ops": {"experiment": {"config": {"spec": {"task": "classification", "name": "from the UI"}}}}}
    result = lab.run("fresh", assets=["experiment", *SPEC_ASSETS], config=config)
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


def test_a_table_replaced_by_hand_is_refused_downstream_until_it_is_made_again(lab):
    lab.write("one")
    assert lab.run("one", "job_data_generation").success
    stored = place_of(lab.store.path, "main", "tabular", "experiment_id", "one").current()
    constants = stored.read().with_columns(pl.col("^px_.*$") * 0)
    stored.path.unlink()
    constants.write_parquet(stored.path)
    result = lab.run("one", assets=["normalized"])
    assert not result.success
    assert "was changed after it was stored" in lab.failure(result)
    assert "materialize tabular again" in lab.failure(result)
    result = lab.run("one", assets=["tabular", "normalized"])
    assert result.success, lab.failure(result)
    assert place_of(lab.store.path, "main", "tabular", "experiment_id", "one").current().read()["px_0_0"].max() > 0


def stages_of(result):
    """Return the data version and summary of every asset that a run recorded."""
    events = result.all_events
    made = [event.step_materialization_data.materialization for event in events if event.is_step_materialization]
    return {
        each.asset_key.to_user_string(): (each.tags["dagster/data_version"], each.metadata.get("summary"))
        for each in made
    }


@pytest.mark.parametrize("is_whole_job", [True, False])
def test_a_stage_that_nothing_reads_counts_as_finished_in_no_time(lab, is_whole_job):
    lab.write("cls", task="classification")
    assets = None if is_whole_job else ["experiment", *SPEC_ASSETS, "generated_images", "splits", "crops"]
    result = lab.run("cls", "job_data_generation", assets)
    assert result.success, lab.failure(result)
    made = stages_of(result)
    for name in ("tabular", "normalized"):
        version, summary = made[name]
        assert version == "not needed"
        assert summary.value == (
            f"Nothing in this experiment reads {name}: its classification model is trained on crops. It was not made."
        )
    assert not {"tabular", "normalized"} & lab.results("cls").keys()
    assert lab.outdated("cls") == ("trained_model", "predictions", "analysis")


def test_a_stage_that_nothing_reads_is_made_when_it_is_asked_for_and_then_stays(lab):
    lab.write("cls", task="classification")
    assert lab.run("cls", "job_data_generation").success
    result = lab.materialize("cls", ["tabular"])
    assert result.success, lab.failure(result)
    assert lab.results("cls")["tabular"].report["rows"] > 0
    again = lab.run("cls", assets=["experiment", *SPEC_ASSETS])
    assert stages_of(again).keys() & {"tabular", "normalized"} == set()


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


@pytest.mark.parametrize("task", ["regression", pytest.param("classification", marks=pytest.mark.system)])
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
    assert "crops" not in lab.results("tab")
    assert lab.outdated("tab") == ()
    rows = read_parquet(lab.results("tab")["predictions"].folder / "predictions.parquet")
    assert len(rows) == 24


def test_only_what_is_made_recorded_and_unchanged_is_finished(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        lab = Lab(tmp_path, instance)
        lab.write("one")
        assert lab.run("one").success
    monkeypatch.setenv("ASSAY_STORAGE", str(lab.store.path))
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    spec = lab.store.specs.load("one")
    assert is_finished("one", spec)
    assert not is_finished("one", spec.model_copy(update={"description": "another"}))
    assert not is_finished("two", spec)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "new"))
    assert not is_finished("one", spec)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    stored = place_of(lab.store.path, "main", "predictions", "experiment_id", "one").current()
    constants = stored.read().with_columns(prediction=pl.lit(0.0))
    stored.path.unlink()
    constants.write_parquet(stored.path)
    assert not is_finished("one", spec)


def test_crops_of_a_former_source_are_no_part_of_an_analysis(lab):
    lab.write("one")
    assert lab.run("one").success
    lines = "\n".join(f"{n % 7},{n % 3},{2 * (n % 7) + n % 3}" for n in range(60))
    (lab.folder / "rows.csv").write_text(f"a,b,y\n{lines}")
    table = {"kind": "table", "path": str(lab.folder / "rows.csv"), "target_column": "y"}
    lab.write("one", generated_images={"source": table})
    result = lab.run("one")
    assert result.success, lab.failure(result)
    assert "crops" not in lab.results("one")["analysis"].manifest["inputs"]
    assert lab.outdated("one") == ()


@pytest.mark.system
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
    assert lab.run("own", job="job_data_generation").success
    after = lab.results("own")
    assert before["generated_images"].fingerprint != after["generated_images"].fingerprint
    assert before["trained_model"].folder.exists()
