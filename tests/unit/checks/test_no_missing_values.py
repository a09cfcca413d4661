import os

import polars as pl
import pytest

from assay.checks import ExperimentFiles, run_test
from assay.spec.exptests import NoMissingValuesTest


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_parquet(path)
    return path


def run_on(folder=None, tables=None, **keys):
    return run_test(NoMissingValuesTest(**keys), ExperimentFiles(experiment_folder=folder, tables=tables or {}))


def test_tables_without_missing_values_pass(tmp_path):
    write(tmp_path / "predictions" / "predictions.parquet", item=["a"], prediction=[1.0])
    table = write(tmp_path.parent / f"{tmp_path.name}-t.parquet", px=[1.0, 2.0], names=[["a"], ["b"]])
    result = run_on(tmp_path, {"tabular": table})
    assert result.passed
    assert "predictions; tabular" in result.description


@pytest.mark.defect("A13")
def test_a_nan_in_the_second_file_fails(tmp_path):
    write(tmp_path / "a.parquet", x=[1.0])
    write(tmp_path / "b.parquet", x=[1.0, float("nan")])
    result = run_on(tmp_path)
    assert not result.passed
    assert "b (b.parquet): column 'x' has 1 missing value" in result.description


@pytest.mark.defect("A13")
def test_predictions_that_are_all_nan_in_a_deep_folder_fail(tmp_path):
    write(tmp_path / "predictions" / "deep" / "test.parquet", prediction=[float("nan")] * 3)
    assert "column 'prediction' has 3 missing values" in run_on(tmp_path).description


@pytest.mark.defect("A13")
def test_no_parquet_file_at_all_fails(tmp_path):
    result = run_on(tmp_path)
    assert not result.passed
    assert "Materialize" in result.description


NAN = float("nan")
POINTS = pl.List(pl.Struct({"x": pl.Float64, "name": pl.String}))


@pytest.mark.defect("A13")
@pytest.mark.parametrize(
    ("values", "dtype", "count"),
    [
        ([[1.0, NAN], [NAN], []], pl.List(pl.Float32), 2),
        ([[1.0, None], None], pl.List(pl.Float64), 2),
        ([["a"], ["b", None]], pl.List(pl.String), 1),
        ([[[1.0], []], [[NAN, 2.0], None]], pl.List(pl.List(pl.Float64)), 2),
        ([[1.0, NAN], [2.0, 3.0]], pl.Array(pl.Float32, 2), 1),
        ([[[1.0, NAN]], [[None, 3.0]]], pl.Array(pl.Array(pl.Float32, 2), 1), 2),
        ([{"x": NAN}, {"x": 1.0}, None], pl.Struct({"x": pl.Float64}), 2),
        ([{"inner": {"x": None}}, {"inner": {"x": 1.0}}], pl.Struct({"inner": pl.Struct({"x": pl.Float64})}), 1),
        ([[{"x": NAN, "name": None}], [{"x": 1.0, "name": "a"}], []], POINTS, 2),
    ],
)
def test_what_is_missing_within_lists_and_structs_counts(tmp_path, values, dtype, count):
    table = write(tmp_path / "rows.parquet", nested=pl.Series(values, dtype=dtype))
    assert f"column 'nested' has {count} missing value" in run_on(tables={"rows": table}).description


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([[1.0], [], [2.0, 3.0]], pl.List(pl.Float32)),
        ([[[1, 2]]], pl.Array(pl.Array(pl.Int32, 2), 1)),
        ([[{"x": 1.0, "name": "a"}], []], POINTS),
        ([], POINTS),
    ],
)
def test_nested_columns_without_missing_values_pass(tmp_path, values, dtype):
    table = write(tmp_path / "rows.parquet", nested=pl.Series(values, dtype=dtype), flat=[1] * len(values))
    assert run_on(tables={"rows": table}).passed


def test_null_in_text_counts_as_missing(tmp_path):
    table = write(tmp_path / "rows.parquet", label=["a", None, None])
    assert "column 'label' has 2 missing values" in run_on(tables={"rows": table}).description


def test_a_file_that_is_no_parquet_fails_and_is_named(tmp_path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 half a file")
    assert "broken.parquet: can't be read as Parquet" in run_on(tmp_path).description


def test_a_table_that_is_not_there_fails(tmp_path):
    assert not run_on(tables={"normalized": tmp_path / "none.parquet"}).passed


def test_columns_that_may_be_undefined_may_hold_null(tmp_path):
    write(tmp_path / "analysis.parquet", metric=["precision"], value=pl.Series([None], dtype=pl.Float64))
    assert run_on(tmp_path).passed
    assert not run_on(tmp_path, ignore=["predictions.*"]).passed


def test_a_linked_file_is_read_once_under_its_tables_name(tmp_path):
    stored = write(tmp_path / "store" / "fingerprint.parquet", x=[None, 1.0])
    (tmp_path / "experiment").mkdir()
    os.link(stored, tmp_path / "experiment" / "predictions.parquet")
    result = run_on(tmp_path / "experiment", {"predictions": stored})
    assert result.measured == "1 table, 1 finding"


def test_an_empty_table_has_no_missing_values(tmp_path):
    assert run_on(tables={"objects": write(tmp_path / "o.parquet", x=pl.Series([], dtype=pl.Float32))}).passed
