"""Metadata of results: numbers that Dagster can plot, everything else as readable text or JSON."""

import dagster as dg
import polars as pl

from assay.storage.results import Result
from assets.common import column_lineage, from_report, shown_pictures


def test_numbers_are_shown_one_by_one():
    assert from_report({"rows": {"train": 3, "test": 1}, "images": 4}) == {"rows/train": 3, "rows/test": 1, "images": 4}


def test_a_metric_with_interval_and_baseline_shows_its_value():
    metric = {"value": 0.9, "ci_low": 0.8, "baseline_name": "majority class"}
    assert from_report({"metrics": {"test": {"accuracy": metric}}}) == {"metrics/test/accuracy": 0.9}


def test_undefined_numbers_are_left_out():
    assert from_report({"metrics": {"test": {"r2": {"value": None, "unit": ""}}}}) == {}


def test_lists_texts_and_large_mappings_are_json():
    many = {str(number): number for number in range(100)}
    found = from_report({"classes": ["a"], "counts": many, "spec": {"kind": "mlp"}})
    assert all(isinstance(value, dg.JsonMetadataValue) for value in found.values())
    assert set(found) == {"classes", "counts", "spec"}


def test_of_what_a_network_saw_the_first_and_the_last_sheet_are_shown(tmp_path):
    for name in ("pictures/curves.png", *(f"net_data/epoch_{epoch}.png" for epoch in ("0001", "9000", "10000"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    shown = shown_pictures(Result("trained_model", "ffff", tmp_path))
    assert list(shown) == ["picture/curves", "net_data/epoch_0001", "net_data/epoch_10000"]
    assert shown_pictures(Result("crops", "ffff", tmp_path / "pictures")) == {}


def origins(metadata):
    lineage = metadata["dagster/column_lineage"].deps_by_column
    return {column: [dep.column_name for dep in deps] for column, deps in lineage.items()}


def test_a_column_comes_from_that_of_the_same_name_or_from_all_that_were_used():
    rows = pl.LazyFrame({"item": ["a"], "target": [1.0], "prediction": [1.0]})
    source = pl.LazyFrame({"item": ["a"], "price": [1.0], "area": [1.0], "city": [1], "unused": [0]})
    assert origins(column_lineage(rows, "normalized", source, ["area", "city"], {"target": "price"})) == {
        "item": ["item"],
        "target": ["price"],
        "prediction": ["area", "city"],
    }


def test_many_columns_of_a_kind_come_from_many_of_a_kind():
    pixels = pl.LazyFrame({f"px_{row}_{column}": [0.0] for row in range(8) for column in range(8)})
    assert origins(column_lineage(pixels, "tabular", pixels)) == {"px_*": ["px_*"]}
