"""Values of masks as class indices, and values without a meaning."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.mask_classes import indices_of, read_meanings, read_values
from assay.errors import DataError


@pytest.fixture
def meanings(tmp_path):
    """Meanings of masks with the labels cat, dog and tree, as a model of the class animal understands them."""
    rows = [
        (7, "cat", "class"),
        (3, "dog", "class"),
        (5, "tree", "class"),
        (0, None, "background"),
        (9, None, "ignore"),
    ]
    schema = {"value": pl.Int32, "label": pl.String, "role": pl.String}
    pl.DataFrame(rows, schema, orient="row").write_parquet(tmp_path / "mask_classes.parquet")
    return read_meanings(tmp_path, ["plant", "animal"], {"cat": "animal", "dog": "animal"})


def test_values_become_indices_labels_of_no_class_background(meanings):
    assert meanings.apply(np.array([[7, 3, 5], [0, 9, 7]], np.int32)).tolist() == [[2, 2, 0], [0, 255, 2]]


def test_a_value_without_meaning_is_an_error_that_names_it(meanings):
    with pytest.raises(DataError, match=r"value 8, which mask_classes\.parquet does not name"):
        meanings.apply(np.array([[7, 8]], np.int32))


def test_a_mask_that_cannot_be_read_is_an_error_that_names_it(tmp_path):
    Image.new("L", (2, 2), 4).save(tmp_path / "good.png")
    assert read_values(tmp_path / "good.png").tolist() == [[4, 4], [4, 4]]
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bad\.png: the mask can't be read"):
        read_values(tmp_path / "bad.png")


@pytest.mark.parametrize("largest", [9, 300, 70_000, 0xFFFFFF, -1])
def test_a_value_is_found_by_table_or_by_search(largest):
    known = [7, largest, 0]
    beyond = 0xFFFFFF if largest < 0xFFFFFF else 2
    values = np.array([[0, largest, 1, -2], [7, largest - 1, beyond, -70]], np.int32)
    assert indices_of(values, known).tolist() == [[2, 1, 3, 3], [0, 3, 3, 3]]


def test_without_known_values_every_index_is_0():
    assert indices_of(np.array([[0, 5]], np.int32), []).tolist() == [[0, 0]]
