"""Bad input through the real jobs: one clear error, nothing half-written, former results still there."""

import multiprocessing
import resource

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.errors import StorageError
from assay.pipeline import stage_config
from assay.spec.loading import spec_from
from assay.storage.results import ResultStore, verify
from tests.helpers.results import build

pytestmark = pytest.mark.system


def leftovers(lab):
    """Return temporary files and folders; each would be something half-written."""
    return [path for path in (lab.folder / "storage").rglob(".tmp-*") if path.exists()]


def class_folders(folder, counts):
    generator = np.random.default_rng(0)
    for place, count in counts.items():
        (folder / place).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / place / f"{number}.png")
    return {"source": {"kind": "image_folder", "path": str(folder)}}


def expect_failure(lab, experiment_id, *texts):
    result = lab.run(experiment_id)
    assert not result.success
    reason = lab.failure(result)
    for text in texts:
        assert text in reason, reason
    assert leftovers(lab) == []
    return reason


def test_a_misspelt_key_names_file_key_and_the_nearest_name(lab):
    lab.write("bad", sede=1)
    expect_failure(lab, "bad", "bad.yaml: sede: unknown key. Did you mean 'seed'?")


def test_a_half_saved_file_keeps_the_former_results(lab):
    lab.write("one")
    assert lab.run("one", job="job_data_generation").success
    before = lab.results("one")
    path = lab.folder / "experiments" / "one.yaml"
    path.write_text(path.read_text() + "normalized: {")
    expect_failure(lab, "one", "one.yaml: is not valid YAML (half-saved?)")
    assert lab.results("one") == before
    assert all(verify(result) == [] for result in before.values())


def test_an_empty_subset_is_refused_with_the_number_of_items_needed(lab):
    images = class_folders(lab.folder / "images", {"cat": 2, "dog": 1})
    lab.write("few", task="classification", generated_images=images)
    reason = expect_failure(lab, "few", "Experiment few, splits: ")
    assert "would be empty" in reason


def test_a_missing_folder_names_experiment_and_the_nearest_name(lab):
    class_folders(lab.folder / "flowers", {"cat": 2})
    source = {"source": {"kind": "image_folder", "path": str(lab.folder / "flower")}}
    lab.write("lost", task="classification", generated_images=source)
    expect_failure(lab, "lost", "Experiment lost, generated_images: source.path", "Did you mean", "flowers")


@pytest.mark.system
def test_a_missing_target_column_names_the_nearest(lab):
    pl.DataFrame({"price": [1.0, 2.0], "size": [3.0, 4.0]}).write_csv(lab.folder / "rows.csv")
    source = {"kind": "table", "path": str(lab.folder / "rows.csv"), "target_column": "prise"}
    lab.write("tab", generated_images={"source": source})
    expect_failure(lab, "tab", "prise", "Did you mean 'price'?")


def test_a_class_in_test_that_train_lacks_is_named(lab):
    images = class_folders(lab.folder / "images", {"train/cat": 3, "train/dog": 3, "test/cat": 2, "test/fox": 2})
    lab.write("unseen", task="classification", generated_images=images)
    expect_failure(lab, "unseen", "fox")


def test_unreadable_files_are_reported_together_before_anything_is_computed(lab):
    images = class_folders(lab.folder / "images", {"cat": 4, "dog": 4})
    (lab.folder / "images" / "cat" / "0.png").write_bytes(b"")
    whole = (lab.folder / "images" / "dog" / "1.png").read_bytes()
    (lab.folder / "images" / "dog" / "1.png").write_bytes(whole[: len(whole) // 2])
    (lab.folder / "images" / "dog" / "2.png").write_text("not an image")
    lab.write("broken", task="classification", generated_images=images)
    expect_failure(lab, "broken", "cat/0.png", "dog/1.png", "dog/2.png")
    assert lab.results("broken") == {}


def test_a_failing_stage_keeps_what_the_experiment_had(lab):
    images = class_folders(lab.folder / "images", {"cat": 12, "dog": 12})
    lab.write("own", task="classification", generated_images=images)
    assert lab.run("own", job="job_data_generation").success
    before = lab.results("own")
    (lab.folder / "images" / "cat" / "3.png").write_bytes(b"broken")
    expect_failure(lab, "own", "cat/3.png")
    assert lab.results("own") == before


def test_a_storage_that_can_not_be_written_is_one_clear_error(lab):
    lab.write("one")
    (lab.folder / "storage").write_text("a file where the folder should be")
    result = lab.run("one")
    assert not result.success
    assert "storage" in lab.failure(result)


def _build_on_a_full_disk(root, queue):
    # A limit on the size of files fails like a full disk: in the middle of a write, with an OSError.
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    part = stage_config(spec_from({"task": "regression"}, "x"), "full", "crops")
    try:
        build(ResultStore(root), part, {}, lambda folder: (folder / "big").write_bytes(bytes(10**6)) and {})
    except StorageError as error:
        queue.put(str(error))


def test_a_disk_that_fills_up_leaves_nothing_half_written(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_build_on_a_full_disk, args=(tmp_path, queue))
    process.start()
    message = queue.get(timeout=30)
    process.join(30)
    assert "The result of crops can't be written" in message
    assert "Free space" in message
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["a b", "x" * 300, "latest", "a\nb", "'; drop table x; --"])
def test_ids_that_dagster_accepts_but_assay_does_not_are_refused_at_the_first_asset(lab, name):
    result = lab.run(name)
    assert not result.success
    assert "Experiment ID" in lab.failure(result)
    assert not (lab.folder / "storage").exists()
