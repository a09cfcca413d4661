import datetime as dt
import string
import tempfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError, StorageError
from assay.storage.parquet import StoredTable, read_parquet, write_parquet

MOMENT = dt.datetime(2024, 2, 29, 1, 2, 3, 123456)
NANOSECONDS = 1_577_840_523_123_456_789

INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
COLUMNS = {
    **{f"{kind()}": pl.Series([1, None, 100], dtype=kind) for kind in INTEGERS},
    "UInt64 largest": pl.Series([2**64 - 1], dtype=pl.UInt64),
    "Int64 smallest": pl.Series([-(2**63)], dtype=pl.Int64),
    "Float32": pl.Series([0.1, None, float("inf")], dtype=pl.Float32),
    "Float64": pl.Series([0.1, None, float("nan"), float("-inf"), -0.0]),
    "Boolean": pl.Series([True, None, False]),
    "String": pl.Series(["a", None, "", "ü\n\0;'\""]),
    "Binary": pl.Series([b"\x00\xff", None, b""]),
    "Date": pl.Series([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]),
    "Time": pl.Series([dt.time(1, 2, 3, 4), None]),
    "Datetime us": pl.Series([MOMENT, None], dtype=pl.Datetime("us")),
    "Datetime ms": pl.Series([MOMENT, None], dtype=pl.Datetime("ms")),
    "Datetime ns": pl.Series([NANOSECONDS, None]).cast(pl.Datetime("ns")),
    "Datetime UTC": pl.Series([MOMENT, None], dtype=pl.Datetime("us", "UTC")),
    "Datetime zone": pl.Series([MOMENT, None], dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone("Europe/Berlin"),
    "Datetime ms zone": pl.Series([1, None]).cast(pl.Datetime("ms", "Asia/Tokyo")),
    "Datetime ns zone": pl.Series([NANOSECONDS, None]).cast(pl.Datetime("ns", "Asia/Tokyo")),
    "Duration us": pl.Series([dt.timedelta(days=-40, microseconds=5), None]),
    "Duration ns": pl.Series([NANOSECONDS, None]).cast(pl.Duration("ns")),
    "Duration ms": pl.Series([5, None]).cast(pl.Duration("ms")),
    "List": pl.Series([[1, None], None, []], dtype=pl.List(pl.Int32)),
    "List of Duration": pl.Series([[dt.timedelta(1), None], None]),
    "Array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int32, 2)),
    "Array of Array": pl.Series([[[1, 2], [3, 4]], None], dtype=pl.Array(pl.Int8, (2, 2))),
    "Struct": pl.Series([{"a": 1, "b": "x"}, None], dtype=pl.Struct({"a": pl.Int8, "b": pl.String})),
    "Struct of Enum": pl.Series([{"a": "x"}, None], dtype=pl.Struct({"a": pl.Enum(["x"])})),
    "Categorical": pl.Series(["b", None, "a"], dtype=pl.Categorical),
    "Enum": pl.Series(["b", None, "a"], dtype=pl.Enum(["b", "a", "unused"])),
    "Decimal": pl.Series([Decimal("1.23"), None], dtype=pl.Decimal(10, 2)),
    "Null": pl.Series([None, None], dtype=pl.Null),
}


@pytest.mark.parametrize("rows", ["values", "no rows"])
@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.system
def test_every_column_type_comes_back_as_it_was(name: str, rows: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": COLUMNS[name]})
    frame = frame if rows == "values" else frame.clear()
    write_parquet(frame, tmp_path / "t.parquet")
    found = read_parquet(tmp_path / "t.parquet")
    assert found.schema == frame.schema
    assert found.equals(frame)


def test_integers_keep_their_extremes(tmp_path: Path) -> None:
    bits = {kind: int(str(kind()).lstrip("UInt")) for kind in INTEGERS}
    extremes = {
        kind: [0, 2**n - 1] if "U" in str(kind()) else [-(2 ** (n - 1)), 2 ** (n - 1) - 1] for kind, n in bits.items()
    }
    frame = pl.DataFrame([pl.Series(str(kind()), values, dtype=kind) for kind, values in extremes.items()])
    write_parquet(frame, tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(frame)


@given(
    st.lists(st.text(string.printable + "äß→名", min_size=1), min_size=1, max_size=5, unique_by=str.lower),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5),
)
@settings(max_examples=30, deadline=None)
def test_any_column_name_and_any_text_come_back(names: list[str], values: list[str]) -> None:
    frame = pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name in names})
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(frame, Path(folder) / "t.parquet")
        assert read_parquet(Path(folder) / "t.parquet").equals(frame)


@pytest.mark.parametrize("name", ["it's; drop --", "w[ei]rd *? $1", "ü → 名", "a\nb", "~", "experiment_id=x"])
def test_any_path_can_be_written_and_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / f"{name}.parquet"
    write_parquet(pl.DataFrame({"a": [1]}), path)
    assert list(path.parent.iterdir()) == [path]
    assert read_parquet(path).to_dict(as_series=False) == {"a": [1]}


def test_equal_tables_give_equal_bytes_with_rows_in_their_order(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": range(300_000), "text": [f"t{i % 7}" for i in range(300_000)]}).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    write_parquet(frame, tmp_path / "a.parquet")
    write_parquet(frame.lazy(), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert read_parquet(tmp_path / "a.parquet").equals(frame)


def test_only_the_columns_asked_for_come_in_the_order_asked_for(tmp_path: Path) -> None:
    write_parquet(pl.DataFrame({"a": [1], "b": [2], "c": [3]}), tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet", ["c", "a"]).to_dict(as_series=False) == {"c": [3], "a": [1]}


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    write_parquet(pl.DataFrame({"label": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"'lable' does not exist\. Did you mean 'label'"):
        read_parquet(tmp_path / "t.parquet", ["lable"])


def test_files_of_others_can_be_read_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1, None], "d": [dt.timedelta(1), None]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_parquet(tmp_path / "t.parquet").equals(frame)


def test_a_missing_or_broken_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    for name in ("none.parquet", "broken.parquet"):
        with pytest.raises(StorageError, match=name):
            read_parquet(tmp_path / name)


def test_a_refused_table_leaves_the_former_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(pl.DataFrame({"a": [1]}), path)
    with pytest.raises(DataError, match="'b' has type Int128"):
        write_parquet(pl.DataFrame({"b": pl.Series([1], dtype=pl.Int128)}), path)
    assert list(tmp_path.iterdir()) == [path]
    assert read_parquet(path).columns == ["a"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="can't be written"):
        write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "file" / "t.parquet")


def test_a_stored_table_reads_lazily_and_knows_its_schema(tmp_path: Path) -> None:
    write_parquet(
        pl.DataFrame({"a": [1, 2], "e": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"]))}), tmp_path / "t.parquet"
    )
    table = StoredTable(tmp_path / "t.parquet", "f00")
    assert table.schema == pl.Schema({"a": pl.Int64, "e": pl.Enum(["x", "y"])})
    assert table.scan().filter(pl.col("a") > 1).collect().rows() == [(2, "y")]
    assert table.read(["a"]).columns == ["a"]
