"""A generated data set: its files, tables and report, and that the same spec gives the same bytes."""

import gc
import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.schema import IMAGE_ITEM_COLUMNS, MASK_CLASS_COLUMNS
from assay.datasets.synthetic.backgrounds import SHIPPED_PHOTOS
from assay.datasets.synthetic.build import SAMPLES, build_numbers
from assay.datasets.synthetic.picture import NUMBER_COLUMNS, RowCollector
from assay.errors import DataError
from assay.images.near_duplicates import ImageSignature, signature_of
from assay.spec.generated_images import NumbersSource
from assay.utils.concurrency import silent

SMALL = {"img_size": {"width": 80, "height": 64}, "font_size_min": 12, "font_size_max": 18, "max_amount": 4}
TABLES = {"items.parquet", "objects.parquet", "mask_classes.parquet"}
KINDS = [("images", "png"), ("masks", "png"), ("labels", "json")]


def build(folder: Path, workers: int = 2, seed: int = 7, **keys) -> dict:
    folder.mkdir()
    return build_numbers(NumbersSource(**{**SMALL, **keys}), seed, folder, silent, workers)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("numbers") / "result"
    return folder, build(folder, sample_count=12)


def test_one_image_mask_and_label_is_written_per_item_and_nothing_else(built):
    folder, _ = built
    names = [f"{index:06d}" for index in range(12)]
    expected = {f"{kind}/{name}.{ending}" for kind, ending in KINDS for name in names}
    assert set(bytes_of(folder)) == expected | TABLES | {"pictures/samples.png"}


def test_items_describe_the_files(built):
    folder, _ = built
    items = pl.read_parquet(folder / "items.parquet")
    assert items.schema == pl.Schema(IMAGE_ITEM_COLUMNS)
    assert items["item"].to_list() == [f"{index:06d}" for index in range(12)]
    for row in items.iter_rows(named=True):
        content = (folder / row["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        with Image.open(folder / row["file"]) as image:
            assert (image.size, image.mode) == ((row["width_px"], row["height_px"]), "RGB")
            assert ImageSignature(row["pixels"], row["thumbnail"]) == signature_of(image)
        assert row["background"] in SHIPPED_PHOTOS
        assert (row["label"], row["labelled"]) == (None, True)
        assert row["mask"] == f"masks/{row['item']}.png"
        assert row["given_subset"] is None


def test_label_files_and_the_table_of_objects_say_the_same(built):
    folder, _ = built
    objects = pl.read_parquet(folder / "objects.parquet")
    assert dict(objects.schema) == NUMBER_COLUMNS
    told = []
    for path in sorted((folder / "labels").iterdir()):
        label = json.loads(path.read_text())
        assert label["image"] == f"images/{path.stem}.png"
        told += [{"item": path.stem, "object": number, **row} for number, row in enumerate(label["objects"])]
    assert told == objects.drop("crowd").to_dicts()
    assert not objects["crowd"].any()


@pytest.mark.defect("A4")
def test_stored_masks_hold_only_the_labels_of_their_image_and_background(built):
    folder, _ = built
    for path in sorted((folder / "masks").iterdir()):
        label = json.loads((folder / "labels" / f"{path.stem}.json").read_text())
        with Image.open(path) as mask:
            assert mask.mode == "L"
            assert set(np.unique(mask)) == {int(row["label"]) for row in label["objects"]} | {255}


def test_the_classes_of_mask_values_are_written(built):
    folder, _ = built
    classes = pl.read_parquet(folder / "mask_classes.parquet")
    assert classes.schema == pl.Schema(MASK_CLASS_COLUMNS)
    assert classes.filter(role="class").rows() == [(number, str(number), "class") for number in range(10)]
    assert classes.filter(pl.col("role") != "class").rows() == [(255, None, "background")]


@pytest.mark.defect("A11")
def test_stored_boxes_are_the_extents_of_the_stored_masks(built):
    folder, _ = built
    objects = pl.read_parquet(folder / "objects.parquet")
    alone = objects.filter(pl.len().over("item", "label") == 1)
    assert len(alone) > 10
    for row in alone.iter_rows(named=True):
        with Image.open(folder / "masks" / f"{row['item']}.png") as mask:
            rows, columns = np.nonzero(np.asarray(mask) == int(row["label"]))
        assert (row["x_px"], row["y_px"]) == (columns.min(), rows.min())
        assert (row["width_px"], row["height_px"]) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_the_report_counts_what_was_made(built):
    folder, report = built
    objects = pl.read_parquet(folder / "objects.parquet")
    assert report["root"] == "."
    assert report["images"] == 12
    assert report["objects"] == len(objects) == sum(report["labels"].values())
    assert sum(int(amount) * count for amount, count in report["objects_per_image"].items()) == len(objects)
    assert sum(report["backgrounds"].values()) == 12
    assert json.loads(json.dumps(report)) == report


def test_the_sample_picture_is_small_enough_for_the_ui(built):
    folder, _ = built
    assert (folder / "pictures" / "samples.png").stat().st_size <= 100_000


@pytest.mark.system
def test_one_worker_and_several_write_the_same_bytes(built, tmp_path):
    folder, report = built
    for workers in (1, 3):
        assert build(tmp_path / str(workers), workers, sample_count=12) == report
        assert bytes_of(tmp_path / str(workers)) == bytes_of(folder)


@pytest.mark.system
def test_a_larger_count_adds_images_and_changes_none(built, tmp_path):
    folder, _ = built
    build(tmp_path / "more", sample_count=20)
    more = bytes_of(tmp_path / "more")
    per_image = {name: content for name, content in bytes_of(folder).items() if name.split("/")[0] in dict(KINDS)}
    assert per_image.items() <= more.items()


@pytest.mark.system
def test_another_seed_gives_other_images(built, tmp_path):
    folder, _ = built
    build(tmp_path / "other", seed=8, sample_count=12)
    one, other = bytes_of(folder), bytes_of(tmp_path / "other")
    assert all(one[name] != other[name] for name in one if name.startswith("images/"))


@pytest.mark.parametrize(
    ("keys", "absent"), [({"masks": False}, "masks"), ({"detection_labels": False}, "labels")], ids=["masks", "labels"]
)
@pytest.mark.system
def test_what_is_switched_off_is_not_written_and_changes_nothing_else(built, tmp_path, keys, absent):
    folder, _ = built
    build(tmp_path / "less", sample_count=12, **keys)
    images = {name: content for name, content in bytes_of(folder).items() if name.startswith("images/")}
    less = bytes_of(tmp_path / "less")
    assert {name: content for name, content in less.items() if name.startswith("images/")} == images
    assert not [name for name in less if name.startswith(absent + "/")]
    assert ("mask_classes.parquet" in less) == (absent != "masks")
    assert less["objects.parquet"] == bytes_of(folder)["objects.parquet"]


def test_the_compression_level_changes_the_files_and_not_the_pixels(built, tmp_path):
    folder, _ = built
    build(tmp_path / "smaller", sample_count=12, compress_level=9)
    before, after = bytes_of(folder), bytes_of(tmp_path / "smaller")
    images = [name for name in before if name.startswith("images/")]
    assert sum(len(after[name]) for name in images) < sum(len(before[name]) for name in images)
    for name in images:
        with Image.open(folder / name) as one, Image.open(tmp_path / "smaller" / name) as other:
            assert one.tobytes() == other.tobytes()


@pytest.mark.system
def test_images_of_1024_by_1024_work(tmp_path):
    build(tmp_path / "large", sample_count=1, img_size={"width": 1024, "height": 1024})
    with Image.open(tmp_path / "large" / "images" / "000000.png") as image:
        assert image.size == (1024, 1024)


def test_progress_is_reported_once_per_image(tmp_path):
    told = []
    spec = NumbersSource(**SMALL, sample_count=5)
    build_numbers(spec, 1, tmp_path, lambda done, total, note: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)]


def test_bad_backgrounds_are_reported_before_anything_is_written(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("one.jpg", "two.png"):
        (photos / name).write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"one\.jpg(.|\n)*two\.png"):
        build(tmp_path / "result", background_folder=str(photos))
    assert not bytes_of(tmp_path / "result")
    assert not list((tmp_path / "result").iterdir())


def test_a_file_that_cannot_be_written_ends_the_generation(tmp_path):
    def fill_the_disk(done: int, total: int, note: str) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        build_numbers(NumbersSource(**SMALL, sample_count=1000), 1, tmp_path, fill_the_disk, 2)
    assert len(list((tmp_path / "images").iterdir())) < 20


def images_alive() -> int:
    # type() and not isinstance(): some objects of other libraries warn when they are asked for their class.
    return sum(issubclass(type(thing), Image.Image) for thing in gc.get_objects())


@pytest.mark.defect("C11")
@pytest.mark.system
def test_the_number_of_images_in_memory_does_not_grow_with_their_count(tmp_path):
    in_flight, per_picture = 4, 4
    alive = []

    def count_images(done: int, total: int, note: str) -> None:
        if done % 10 == 0:
            alive.append(images_alive())

    gc.collect()
    before = images_alive()
    build_numbers(NumbersSource(**SMALL, sample_count=60), 1, tmp_path, count_images, 2)
    assert max(alive) - before <= len(SHIPPED_PHOTOS) + SAMPLES + in_flight * per_picture


def test_an_empty_table_keeps_its_types_and_rows_keep_their_order():
    assert dict(RowCollector(NUMBER_COLUMNS).frame().schema) == NUMBER_COLUMNS
    rows = RowCollector({"n": pl.Int32})
    for start in range(0, 10_000, 1000):
        rows.add([{"n": number} for number in range(start, start + 1000)])
    assert rows.frame()["n"].to_list() == list(range(10_000))
