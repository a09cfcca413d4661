"""Annotations are the same whether they are kept in memory between two uses or read anew."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.schema import MASK_CLASSES_FILE
from assay.storage.parquet import write_parquet
from assay.training.annotations import Annotations
from assay.training.data import DataSource
from assay.training.image_targets import MaskTarget


@pytest.mark.parametrize("values", [[-1, 0, 7], [0, 1, 255], [-300, 0, 300], [-(2**31), 0, 2**31 - 1], [0, 0, 70_000]])
def test_a_kept_mask_has_the_classes_of_one_that_is_read_anew(values, tmp_path):
    objects = sorted(set(values) - {0})
    rows = [(0, None, "background"), *((value, str(value), "class") for value in objects)]
    schema = {"value": pl.Int32, "label": pl.String, "role": pl.String}
    write_parquet(pl.DataFrame(rows, schema, orient="row"), tmp_path / MASK_CLASSES_FILE)
    pixels = np.array([values] * 2, np.int32)
    Image.fromarray(pixels, "I").save(tmp_path / "mask.tif")
    names = tuple(str(value) for value in objects)
    target = MaskTarget(classes=names, mapping={name: name for name in names})
    annotations = Annotations(DataSource("splits", tmp_path, "ssss"))
    read_anew = annotations.class_map(tmp_path / "mask.tif", target)
    annotations.keep_mask(tmp_path / "mask.tif", pixels)
    assert annotations.class_map(tmp_path / "mask.tif", target).tolist() == read_anew.tolist()
    assert set(read_anew.ravel()) == set(range(1 + len(objects)))
