"""The stage ``crops``: windows, labels, files."""

import hashlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from assay.datasets.schema import IMAGE_ITEM_COLUMNS, OBJECT_COLUMNS, ROW_ITEM_COLUMNS
from assay.errors import DataError
from assay.images.boxes import Box
from assay.spec.crops import CropsSection
from assay.stages.crops import CROP_COLUMNS, build_crops, cut, window_around
from assay.storage.parquet import read_parquet, write_parquet

SIZE = (40, 30)


@given(st.integers(0, 39), st.integers(0, 29), st.integers(1, 40), st.integers(1, 30), st.floats(0, 2), st.booleans())
def test_a_window_holds_its_box_and_stays_inside_where_it_fits(x, y, width, height, margin, square):
    box = Box(x, y, min(width, 40 - x), min(height, 30 - y))
    left, top, right, bottom = window_around(box, SIZE, margin, square).edges
    assert left <= box.x_px
    assert top <= box.y_px
    assert right >= box.edges[2]
    assert bottom >= box.edges[3]
    if right - left <= SIZE[0]:
        assert left >= 0
        assert right <= SIZE[0]
    if bottom - top <= SIZE[1]:
        assert top >= 0
        assert bottom <= SIZE[1]
    if square:
        assert right - left == bottom - top


def test_the_margin_is_a_share_of_the_longer_side():
    assert window_around(Box(15, 10, 10, 4), SIZE, 0.1, square=True) == Box(14, 6, 12, 12)
    assert window_around(Box(15, 10, 10, 4), SIZE, 0.1, square=False) == Box(14, 9, 12, 6)
    assert window_around(Box(15, 10, 10, 4), SIZE, 0.0, square=False) == Box(15, 10, 10, 4)


def test_a_window_beyond_the_image_repeats_its_edge_pixels():
    image = Image.fromarray(np.array([[10, 20], [30, 40]], dtype=np.uint8))
    assert np.asarray(cut(image, Box(-1, 0, 4, 2))).tolist() == [[10, 10, 20, 20], [30, 30, 40, 40]]
    colour = Image.new("RGB", (2, 2), "red")
    assert cut(colour, Box(-2, -2, 6, 6)).getcolors() == [(36, (255, 0, 0))]


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_splits(folder, images, boxes=()):
    """Write a result of ``splits``: images by file name with their labels, and boxes (item, label, x, y, w, h)."""
    folder.mkdir()
    rows = []
    for number, (file, label) in enumerate(images.items()):
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        sha256 = save(folder / file, pixels)
        subset, _, item = file.partition("/")
        rows.append(
            {
                "item": item,
                "file": file,
                "width_px": 40,
                "height_px": 30,
                "sha256": sha256,
                "label": label,
                "folder": item.rpartition("/")[0],
                "subset": subset,
            }
        )
    schema = {**IMAGE_ITEM_COLUMNS, "subset": pl.String}
    write_parquet(pl.DataFrame(rows, schema=schema).sort("item"), folder / "items.parquet")
    subsets = {row["item"]: row["subset"] for row in rows}
    objects = [
        {
            "item": item,
            "object": index,
            "label": label,
            "x_px": x,
            "y_px": y,
            "width_px": width,
            "height_px": height,
            "subset": subsets[item],
        }
        for index, (item, label, x, y, width, height) in enumerate(boxes)
    ]
    write_parquet(pl.DataFrame(objects, schema={**OBJECT_COLUMNS, "subset": pl.String}), folder / "objects.parquet")
    return folder


@pytest.fixture
def crop(tmp_path):
    def crop(splits, result="crops", **keys):
        folder = tmp_path / result
        folder.mkdir()
        report = build_crops(splits, CropsSection.model_validate(keys), folder)
        return report, read_parquet(folder / "crops.parquet"), folder

    return crop


BOXES = [("a.png", "7", 5, 6, 8, 10), ("b.png", "3", 0, 0, 3, 3), ("a.png", "1", 30, 20, 10, 10)]


@pytest.fixture
def numbers(tmp_path):
    return write_splits(tmp_path / "splits", {"train/a.png": None, "test/b.png": None, "test/c.png": None}, BOXES)


def test_every_box_becomes_a_crop_in_the_subset_of_its_image(crop, numbers):
    report, crops, folder = crop(numbers)
    assert crops.schema == pl.Schema(CROP_COLUMNS)
    assert crops["item"].to_list() == ["a.png_0", "a.png_2", "b.png_1"]
    assert crops["image"].to_list() == ["a.png", "a.png", "b.png"]
    assert crops["subset"].to_list() == ["train", "train", "test"]
    assert crops["number"].to_list() == [7.0, 1.0, 3.0]
    for file, sha256 in crops.select("file", "sha256").iter_rows():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == sha256
    assert (report["crops"], report["images_without_crops"]) == (3, 1)
    assert (folder / "pictures" / "crops.png").exists()


def test_a_crop_holds_the_pixels_of_its_window(crop, numbers):
    _, crops, folder = crop(numbers, margin=0)
    with Image.open(folder / crops["file"][0]) as image, Image.open(numbers / "train" / "a.png") as whole:
        assert image.size == (10, 10)
        assert np.array_equal(np.asarray(image), np.asarray(whole)[6:16, 4:14])


def test_names_and_places_follow_the_spec(crop, numbers):
    _, crops, folder = crop(numbers, name_delimiter="--", sub_dir="cut/out")
    assert crops["file"][0] == "train/cut/out/a.png--0.png"
    assert (folder / crops["file"][0]).exists()


def test_boxes_larger_than_the_limit_are_reduced(crop, numbers):
    _, crops, folder = crop(numbers, max_size=4)
    for file in crops["file"]:
        with Image.open(folder / file) as image:
            assert image.size == (4, 4)


def test_images_with_a_class_are_whole_crops(crop, tmp_path):
    images = {"train/cat/1.jpg": "cat", "test/dog/deep/2.png": "dog"}
    report, crops, folder = crop(write_splits(tmp_path / "splits", images), max_size=20)
    assert crops["item"].to_list() == ["cat/1.jpg", "dog/deep/2.png"]
    assert crops["file"].to_list() == ["train/cat/1.png", "test/dog/deep/2.png"]
    assert crops["number"].null_count() == 2
    assert crops.select("x_px", "y_px", "width_px", "height_px").row(0) == (0, 0, 40, 30)
    with Image.open(folder / "train" / "cat" / "1.png") as image:
        assert image.size == (20, 15)
    assert not report["all_labels_are_numbers"]


def test_images_below_the_class_folders_can_be_left_out(crop, tmp_path):
    splits = write_splits(tmp_path / "splits", {"train/cat/1.png": "cat", "test/cat/deep/2.png": "cat"})
    assert crop(splits, recursive=False)[1]["item"].to_list() == ["cat/1.png"]


def test_equal_input_gives_equal_bytes(crop, numbers):
    first, second = (crop(numbers, result=name)[2] for name in ("one", "two"))
    files = sorted(path.relative_to(first) for path in first.rglob("*.*"))
    assert len(files) == 5
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_all_labels_outside_their_image_are_named(crop, tmp_path):
    boxes = [
        ("a.png", "7", 35, 6, 8, 10),
        ("a.png", "3", -1, 0, 3, 3),
        ("a.png", "2", 0, 0, 0, 3),
        ("a.png", None, 0, 0, 4, 3),
        ("a.png", "1", 30, 20, 10, 10),
    ]
    splits = write_splits(tmp_path / "splits", {"train/a.png": None}, boxes)
    with pytest.raises(DataError) as caught:
        crop(splits)
    message = str(caught.value)
    assert "4 labels can't be used" in message
    assert "a.png, object 0 (label '7'): its box (x 35, y 6, 8x10 px) is not inside the image of 40x30 px" in message
    assert "a.png, object 3 (label None): has no label" in message
    assert "object 4" not in message


def test_an_image_that_changed_since_it_was_indexed_is_refused(crop, numbers):
    save(numbers / "train" / "a.png", np.zeros((30, 40, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png has changed since it was indexed"):
        crop(numbers)


def test_images_without_any_label_are_refused(crop, tmp_path):
    with pytest.raises(DataError, match="None of 1 image has a label"):
        crop(write_splits(tmp_path / "splits", {"train/a.png": None}))


def test_a_table_has_no_crops_and_says_so(crop, tmp_path):
    (tmp_path / "splits").mkdir()
    items = pl.DataFrame([{"item": "0", "subset": "train"}], schema={**ROW_ITEM_COLUMNS, "subset": pl.String})
    write_parquet(items, tmp_path / "splits" / "items.parquet")
    report, crops, _ = crop(tmp_path / "splits")
    assert report == {"crops": 0, "note": "The source is a table: there are no images to cut from."}
    assert crops.schema == pl.Schema(CROP_COLUMNS)


def test_nothing_is_cut_out_of_a_crowd(crop, tmp_path):
    splits = write_splits(tmp_path / "splits", {"train/a.png": None}, [("a.png", "cat", 1, 1, 9, 9)] * 2)
    objects = read_parquet(splits / "objects.parquet")
    write_parquet(objects.with_columns(crowd=pl.Series([True, False])), splits / "objects.parquet")
    _, crops, _ = crop(splits)
    assert crops["item"].to_list() == ["a.png_1"]


def test_a_png_that_would_be_copied_is_linked(crop, tmp_path):
    images = {"train/cat/1.png": "cat", "train/cat/2.jpg": "cat", "test/cat/3.png": "cat"}
    splits = write_splits(tmp_path / "splits", images)
    _, crops, folder = crop(splits)
    assert [(folder / file).stat().st_nlink for file in crops["file"]] == [2, 1, 2]
    for file, sha256 in crops.select("file", "sha256").iter_rows():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == sha256
    with Image.open(folder / "train/cat/1.png") as image, Image.open(splits / "train/cat/1.png") as source:
        assert np.array_equal(np.asarray(image), np.asarray(source))
    _, smaller, folder = crop(splits, result="smaller", max_size=39)
    assert {(folder / file).stat().st_nlink for file in smaller["file"]} == {1}


def test_a_png_with_an_orientation_or_transparency_is_written_anew(crop, tmp_path):
    splits = write_splits(tmp_path / "splits", {"train/cat/1.png": "cat", "train/cat/2.png": "cat"})
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(splits / "train/cat/1.png", exif=exif)
    Image.fromarray(pixels).save(splits / "train/cat/2.png")
    items = read_parquet(splits / "items.parquet")
    hashes = [hashlib.sha256((splits / file).read_bytes()).hexdigest() for file in items["file"]]
    write_parquet(items.with_columns(sha256=pl.Series(hashes)), splits / "items.parquet")
    _, crops, folder = crop(splits)
    assert {(folder / file).stat().st_nlink for file in crops["file"]} == {1}
    with Image.open(folder / "train/cat/1.png") as image:
        assert np.array_equal(np.asarray(image), pixels[::-1, ::-1, :3])
    with Image.open(folder / "train/cat/2.png") as image:
        assert image.mode == "RGB"


def test_a_whole_image_that_changed_since_it_was_indexed_is_not_linked(crop, tmp_path):
    splits = write_splits(tmp_path / "splits", {"train/cat/1.png": "cat"})
    save(splits / "train/cat/1.png", np.zeros((30, 40, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"1\.png has changed since it was indexed"):
        crop(splits)
