import polars as pl
import pytest

from assay.errors import DataError
from assay.training.data import read_subsets, row_counts


@pytest.mark.defect("A2")
def test_every_subset_has_its_own_rows(pixel_rows, store_rows):
    subsets = read_subsets(store_rows(pixel_rows), ["test", "train"], "target")
    assert row_counts(subsets) == {"test": 20, "train": 64}
    assert set(subsets["test"]["item"]).isdisjoint(subsets["train"]["item"])


@pytest.mark.defect("A2")
def test_subsets_with_the_same_items_are_refused_by_name(pixel_rows, store_rows):
    copies = pixel_rows.filter(pl.col("subset") == "train").head(2).with_columns(pl.lit("test").alias("subset"))
    with pytest.raises(DataError, match="0000: in test, train"):
        read_subsets(store_rows(pl.concat([pixel_rows, copies])), ["train", "validation"], "target")


def test_a_subset_that_does_not_exist_names_the_nearest(pixel_rows, store_rows):
    with pytest.raises(DataError, match="Did you mean 'validation'"):
        read_subsets(store_rows(pixel_rows), ["validatoin"], "target")


def test_a_table_without_subsets_says_so(pixel_rows, store_rows):
    with pytest.raises(DataError, match="'subset' does not exist"):
        read_subsets(store_rows(pixel_rows.drop("subset")), ["train"], "target")
