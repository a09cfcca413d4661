import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from assay.datasets.scaling import CategoricalInfo
from assay.errors import DataError
from assay.spec.trained_model import TrainedModelSection
from assay.training.data import read_subsets
from assay.training.inputs import as_batch, describe_inputs, load_images, load_inputs, natural_size


def described(source, target="target", **description):
    train = read_subsets(source, ["train"], "target")["train"]
    section = TrainedModelSection.model_validate({"data_description": description})
    return describe_inputs(section, source, train, target), train


def test_pixel_columns_are_the_inputs_of_images(pixel_rows, store_rows):
    source = store_rows(pixel_rows)
    inputs, train = described(source)
    assert (inputs.view, inputs.grid, inputs.item_shape) == ("pixels", (4, 4), (16,))
    rows = load_inputs(inputs, source, train, threads=1)
    assert rows.dtype == torch.float32
    assert torch.equal(rows[:, 5], train["px_1_1"].to_torch())


def test_all_columns_but_target_and_names_are_the_inputs_of_a_table(store_rows, pixel_rows):
    rows = pixel_rows.rename({"px_0_0": "age", "px_0_1": "weight"}).drop(pl.selectors.starts_with("px_"))
    inputs, _ = described(store_rows(rows))
    assert (inputs.view, inputs.columns, inputs.standardize) == ("columns", ("age", "weight"), False)


def test_patterns_choose_columns_in_the_tables_order(pixel_rows, store_rows):
    inputs, _ = described(store_rows(pixel_rows), inputs=["px_1_*", "px_0_2"])
    assert inputs.columns == ("px_0_2", "px_1_0", "px_1_1", "px_1_2", "px_1_3")
    assert (inputs.view, inputs.grid) == ("pixels", (0, 0))


def test_a_pattern_that_matches_nothing_is_an_error_that_names_the_key(pixel_rows, store_rows):
    with pytest.raises(DataError, match=r"data_description\.inputs: Column 'px_9_\*' does not exist"):
        described(store_rows(pixel_rows), inputs=["px_0_0", "px_9_*"])


def test_text_is_no_input(pixel_rows, store_rows):
    with pytest.raises(DataError, match=r"categorical_feature_keys(.|\n)*colour: String"):
        described(store_rows(pixel_rows.with_columns(pl.lit("red").alias("colour"))), inputs=["colour", "px_*"])


def test_each_level_of_a_category_is_an_input_of_the_network(pixel_rows, store_rows):
    rows = pixel_rows.select("item", "subset", "target", age="px_0_0", town=pl.int_range(len(pixel_rows)) % 4)
    town = CategoricalInfo(name="town", dtype="String", values=("a", "b"), unseen_code=3, missing_code=2, levels=3)
    source = store_rows(rows.select("item", "subset", "target", "town", "age"), infos=(town,))
    inputs, train = described(source)
    assert inputs.input_names == ("age", "town=a", "town=b", "town=(missing)")
    assert inputs.item_shape == (4,)
    values = load_inputs(inputs, source, train, threads=1)
    assert values.shape == (64, 2)
    batch = as_batch(inputs, values)
    assert batch[:5, 1:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert torch.equal(batch[:, 0], values[:, 1])


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf")])
def test_missing_values_are_named_by_column(pixel_rows, store_rows, bad):
    source = store_rows(pixel_rows)
    inputs, train = described(source)
    broken = train.with_columns(pl.lit(bad, dtype=pl.Float32).alias("px_2_2"))
    with pytest.raises(DataError, match="px_2_2"):
        load_inputs(inputs, source, broken, threads=1)


def test_a_batch_is_the_same_as_its_items_one_by_one(store_crops):
    source = store_crops()
    inputs, train = described(source, target="label")
    items = load_inputs(inputs, source, train, threads=2)
    whole = as_batch(inputs, items)
    assert torch.equal(whole, torch.cat([as_batch(inputs, item) for item in items.split(1)]))
    assert whole.mean((1, 2, 3)).abs().max() < 1e-5
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_brightness_and_contrast_do_not_matter_after_standardization(store_crops):
    source = store_crops()
    inputs, train = described(source, target="label")
    items = load_inputs(inputs, source, train, threads=1).float() / 255
    darker = as_batch(inputs, 0.8 * items + 0.1)
    assert (darker - as_batch(inputs, items)).abs().mean() < 0.1


@pytest.mark.parametrize(("size", "expected"), [((8, 8), 16), ((16, 16), 16), ((17, 9), 24), ((60, 60), 24)])
def test_tiny_pictures_get_a_smaller_network(store_crops, size, expected):
    source = store_crops(counts={"train": 3}, size=size)
    train = read_subsets(source, ["train"], "target")["train"]
    assert natural_size(train, source.folder) == expected


def test_a_wide_picture_is_fitted_with_a_border_and_not_stretched(tmp_path):
    Image.fromarray(np.full((10, 40), 200, dtype=np.uint8)).save(tmp_path / "wide.png")
    (pixels,) = load_images([tmp_path / "wide.png"], 32, threads=1)
    assert pixels.shape == (3, 32, 32)
    assert pixels[:, 14:18].unique().tolist() == [200]
    assert pixels[:, :10].unique().tolist() == [0]


def test_every_picture_that_can_not_be_read_is_listed(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"2 pictures(.|\n)*a\.png(.|\n)*b\.png"):
        load_images([tmp_path / "a.png", tmp_path / "b.png"], 8, threads=2)
