import hashlib
import io
from itertools import islice

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageFont
from sklearn.datasets import load_digits

from assay.checks import ExperimentFiles, run_test
from assay.datasets.synthetic.build import build_numbers
from assay.images.decoding import decode
from assay.images.near_duplicates import signature_of
from assay.spec.exptests import SplitLeakageTest
from assay.spec.generated_images import NumbersSource
from assay.storage.parquet import read_parquet, write_parquet

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
        yield png(crop)


def handwritten_digits():
    for image in load_digits().images:
        yield png(Image.fromarray((image * 255 / 16).astype(np.uint8)))


def png(image, compress_level=1):
    content = io.BytesIO()
    image.save(content, "png", compress_level=compress_level)
    return content.getvalue()


@pytest.fixture
def put(tmp_path):
    """Write the index of files as a source and ``splits`` make it, subsets in turn; the files are nowhere."""

    def write(files, groups=None):
        items = []
        for index, content in enumerate(files):
            signature, item = signature_of(decode(content)), f"{index:06d}"
            items.append(
                {
                    "item": item,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "pixels": signature.pixels,
                    "thumbnail": signature.thumbnail,
                    "subset": SUBSETS[index % 3],
                    "group": item if groups is None else groups[index],
                }
            )
        write_parquet(pl.DataFrame(items), tmp_path / "items.parquet")
        return tmp_path

    return write


def run_on(folder, **keys):
    return run_test(SplitLeakageTest(**keys), ExperimentFiles(splits_folder=folder))


@pytest.mark.system
def test_honest_generated_crops_on_shared_backgrounds_raise_no_alarm(put):
    result = run_on(put(generated_crops(600)))
    assert result.passed, result.description


@pytest.mark.system
def test_generated_images_raise_no_alarm(tmp_path):
    keys = {"sample_count": 100, "img_size": {"width": 96, "height": 96}, "max_amount": 2}
    source = NumbersSource(**keys, font_size_min=20, font_size_max=36, masks=False)
    build_numbers(source, 3, tmp_path)
    items = read_parquet(tmp_path / "items.parquet")
    subset = [SUBSETS[index % 3] for index in range(len(items))]
    items = items.with_columns(subset=pl.Series(subset), group=pl.col("item"))
    write_parquet(items, tmp_path / "items.parquet")
    result = run_on(tmp_path)
    assert result.passed, result.description


def test_all_real_handwritten_digits_raise_no_alarm(put):
    result = run_on(put(handwritten_digits()))
    assert result.passed, result.description


def test_the_same_file_in_two_subsets_is_a_blocking_error_that_names_both(put):
    files = list(generated_crops(9))
    files[4] = files[0]
    result = run_on(put(files))
    assert (result.passed, result.severity, result.blocking) == (False, "error", True)
    assert "same file: train/000000 = validation/000004" in result.description


def test_the_same_file_twice_in_one_subset_is_no_leakage(put):
    files = list(generated_crops(9))
    files[3] = files[0]
    assert run_on(put(files)).passed


def test_the_same_pixels_in_another_file_are_an_error(put):
    files = list(generated_crops(6))
    files[1] = png(decode(files[0]), compress_level=9)
    result = run_on(put(files))
    assert result.severity == "error"
    assert "same pixels: train/000000 = validation/000001" in result.description


@pytest.mark.parametrize("make", [generated_crops, lambda count: islice(handwritten_digits(), count)])
def test_a_darkened_copy_is_a_warning_that_stops_nothing(put, make):
    files = list(make(30))
    files[28] = png(ImageEnhance.Brightness(decode(files[0])).enhance(0.9))
    result = run_on(put(files))
    assert (result.passed, result.severity, result.blocking) == (False, "warn", False)
    assert "near duplicate: train/000000 ~ validation/000028" in result.description


def test_a_jpeg_copy_is_found_and_may_be_declared_an_error_or_ignored(put):
    files, copy = list(generated_crops(9)), io.BytesIO()
    decode(files[0]).save(copy, "jpeg", quality=75)
    files[2] = copy.getvalue()
    folder = put(files)
    assert run_on(folder).severity == "warn"
    assert run_on(folder, near_duplicates="error").severity == "error"
    assert run_on(folder, near_duplicates="ignore").passed


def test_one_group_in_two_subsets_is_an_error(put):
    result = run_on(put(generated_crops(6), groups=["patient 1", "patient 2", "c", "patient 1", "patient 1", "f"]))
    assert result.severity == "error"
    assert "same group: train/000000 = validation/000004" in result.description


def test_images_without_contrast_are_no_near_duplicates(put):
    assert run_on(put(png(Image.new("RGB", (20 + index, 20), "white")) for index in range(6))).passed


def test_equal_rows_of_a_table_are_a_warning(tmp_path):
    rows = pl.DataFrame({"item": ["0", "1"], "sha256": ["a", "a"], "subset": ["train", "test"]})
    rows.write_parquet(tmp_path / "items.parquet")
    result = run_on(tmp_path)
    assert (result.passed, result.severity) == (False, "warn")
    assert "same row: test/1 = train/0" in result.description
    rows.with_columns(sha256=pl.col("item")).write_parquet(tmp_path / "items.parquet")
    assert run_on(tmp_path).passed


def test_without_splits_it_says_what_to_materialize():
    assert "Materialize splits first" in run_on(None).description
