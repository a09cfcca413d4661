import hashlib
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont
from sklearn.datasets import load_digits

from assay.exptests import ExperimentFiles, duplicates, run_test
from assay.numbers.build import build_numbers
from assay.spec.exptest_kinds import SplitLeakageTest
from assay.spec.numbers import NumbersSource

SUBSETS = ("train", "validation", "test")


def generated_crops(count):
    """Digits on a few photo-like backgrounds, every background many times: alike, but no copies."""
    rng = np.random.default_rng(0)
    photos = [
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
        for _ in range(3)
    ]
    for index in range(count):
        left, top = (int(value) for value in rng.integers(0, 200, 2))
        crop = photos[index % 3].crop((left, top, left + 48, top + 48))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        font = ImageFont.load_default(float(rng.integers(30, 44)))
        ImageDraw.Draw(crop).text((12, 2), str(index % 10), fill=colour, font=font)
        yield crop


def handwritten_digits():
    for image in load_digits().images:
        yield Image.fromarray((image * 255 / 16).astype(np.uint8))


@pytest.fixture
def put(tmp_path):
    """Write images as a splits folder, subsets in turn."""

    def write(images, groups=None):
        rows = []
        for index, image in enumerate(images):
            subset, item = SUBSETS[index % 3], f"{index:06d}"
            path = tmp_path / subset / f"{item}.png"
            path.parent.mkdir(exist_ok=True)
            image.save(path, compress_level=0 if image.mode == "L" else 1)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            group = item if groups is None else groups[index]
            rows.append((item, f"{subset}/{item}.png", digest, subset, group))
        return write_items(tmp_path, rows)

    return write


def write_items(folder, rows):
    names = ["item", "file", "sha256", "subset", "group"]
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(folder / "items.parquet")
    return folder


def run_on(folder, crops=None, **keys):
    return run_test(SplitLeakageTest(**keys), ExperimentFiles(splits_folder=folder, crops_folder=crops))


def test_honest_generated_crops_on_shared_backgrounds_raise_no_alarm(put):
    result = run_on(put(generated_crops(600)))
    assert result.passed, result.description


def test_pictures_of_the_number_generator_raise_no_alarm(tmp_path):
    keys = {"sample_count": 100, "img_size": {"width": 96, "height": 96}, "max_amount": 2}
    source = NumbersSource(**keys, font_size_min=20, font_size_max=36, masks=False)
    build_numbers(source, 3, tmp_path)
    items = pl.read_parquet(tmp_path / "items.parquet")
    subset = [SUBSETS[index % 3] for index in range(len(items))]
    items.with_columns(subset=pl.Series(subset), group=pl.col("item")).write_parquet(tmp_path / "items.parquet")
    result = run_on(tmp_path)
    assert result.passed, result.description


def test_all_real_handwritten_digits_raise_no_alarm(put):
    result = run_on(put(handwritten_digits()))
    assert result.passed, result.description


def test_the_same_file_in_two_subsets_is_a_blocking_error_that_names_both(put):
    images = list(generated_crops(9))
    images[4] = images[0]
    result = run_on(put(images))
    assert (result.passed, result.severity, result.blocking) == (False, "error", True)
    assert "same file: train/000000 = validation/000004" in result.description


def test_the_same_file_twice_in_one_subset_is_no_leakage(put):
    images = list(generated_crops(9))
    images[3] = images[0]
    assert run_on(put(images)).passed


def test_the_same_pixels_in_another_file_are_an_error(put):
    images = list(generated_crops(6))
    folder = put(images)
    images[0].save(folder / "validation" / "000001.png", compress_level=9)
    result = run_on(folder)
    assert result.severity == "error"
    assert "same pixels: train/000000 = validation/000001" in result.description


@pytest.mark.parametrize("images", [generated_crops, lambda count: list(handwritten_digits())[:count]])
def test_a_brightened_copy_is_a_warning_that_stops_nothing(put, images):
    images = list(images(30))
    images[28] = ImageEnhance.Brightness(images[0]).enhance(0.9)
    result = run_on(put(images))
    assert (result.passed, result.severity, result.blocking) == (False, "warn", False)
    assert "near duplicate: train/000000 ~ validation/000028" in result.description


def test_a_jpeg_copy_is_found_and_may_be_declared_an_error_or_ignored(put):
    images = list(generated_crops(9))
    folder = put(images)
    images[0].save(folder / "copy.jpg", quality=75)
    shutil.move(folder / "copy.jpg", folder / "test" / "000002.png")
    assert run_on(folder).severity == "warn"
    assert run_on(folder, near_duplicates="error").severity == "error"
    assert run_on(folder, near_duplicates="ignore").passed


def test_one_group_in_two_subsets_is_an_error(put):
    result = run_on(put(generated_crops(6), groups=["patient 1", "patient 2", "c", "patient 1", "patient 1", "f"]))
    assert result.severity == "error"
    assert "same group: train/000000 = validation/000004" in result.description


def test_images_without_contrast_are_not_called_alike(put):
    assert run_on(put(Image.new("RGB", (20 + index, 20), "white") for index in range(6))).passed


def test_an_image_that_can_not_be_opened_is_an_error(put):
    folder = put(generated_crops(3))
    (folder / "test" / "000002.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = run_on(folder)
    assert result.severity == "error"
    assert "can't be opened" in result.description


def test_pixels_of_crops_are_compared_where_there_are_crops(put, tmp_path):
    folder = put(generated_crops(6))
    crops = tmp_path / "crops"
    crops.mkdir()
    crop = next(iter(generated_crops(1)))
    rows = []
    for subset in ("train", "test"):
        crop.save(crops / f"{subset}.png")
        rows.append((f"{subset}_0", f"{subset}.png", subset))
    pl.DataFrame(rows, schema=["item", "file", "subset"], orient="row").write_parquet(crops / "crops.parquet")
    assert "same pixels: test/test_0 = train/train_0" in run_on(folder, crops).description


def test_equal_rows_of_a_table_are_a_warning(tmp_path):
    rows = pl.DataFrame({"item": ["0", "1"], "sha256": ["a", "a"], "subset": ["train", "test"]})
    rows.write_parquet(tmp_path / "items.parquet")
    result = run_on(tmp_path)
    assert (result.passed, result.severity) == (False, "warn")
    assert "same row: test/1 = train/0" in result.description
    rows.with_columns(sha256=pl.col("item")).write_parquet(tmp_path / "items.parquet")
    assert run_on(tmp_path).passed


def test_files_are_found_relative_to_the_reported_root(put):
    folder = put(generated_crops(3))
    inner = folder / "inner"
    inner.mkdir()
    shutil.move(folder / "items.parquet", inner / "items.parquet")
    (inner / "report.json").write_text(f'{{"root": "{folder}"}}')
    assert run_on(inner).passed


def test_without_splits_it_says_what_to_materialize():
    assert "Materialize splits first" in run_on(None).description


def test_every_pair_across_subsets_is_compared_whatever_the_block_size(monkeypatch):
    rng = np.random.default_rng(0)
    thumbnails = rng.normal(size=(50, 256)).astype(np.float32)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    thumbnails[[7, 41]] = thumbnails[3]
    subsets = np.array(["train"] * 20 + ["test"] * 30)
    monkeypatch.setattr(duplicates, "BLOCK_ROWS", 8)
    pairs = {(one, two) for one, two, _ in duplicates.similar_pairs(thumbnails, subsets)}
    assert {frozenset(pair) for pair in pairs} == {frozenset((3, 41)), frozenset((7, 41))}
