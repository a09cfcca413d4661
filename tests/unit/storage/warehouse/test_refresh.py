from pathlib import Path

import duckdb
import polars as pl
import pytest
from filelock import FileLock

from assay.errors import DataError
from assay.storage.partitions import Partition, find_tables, place_of
from assay.storage.warehouse import INDEX, Changes, query, refresh_warehouse
from assay.storage.warehouse.database import writable_index
from assay.storage.warehouse.refresh import NATIVE, update

LARGE = 2**24 + 1
"""The smallest whole number that a 32-bit float can't hold: a cast too many shows."""


def at(root: Path, key: str, table: str = "analysis") -> Partition:
    return place_of(root, "main", table, "experiment_id", key)


def put(root: Path, key: str, table: str = "analysis", **columns: pl.Series | list[object]) -> None:
    at(root, key, table).write(pl.DataFrame(columns))


def remove(root: Path, key: str, table: str = "analysis") -> None:
    (at(root, key, table).folder / "current").unlink()


def rows(root: Path, table: str = "analysis") -> list[tuple[object, ...]]:
    return query(root, f"select * from {table} order by experiment_id").rows()


@pytest.mark.system
def test_columns_come_and_go_with_the_partitions_that_have_them(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    put(tmp_path, "b", X=[2], more=["m"])
    assert rows(tmp_path) == [(1, "a", None), (2, "b", "m")]
    put(tmp_path, "b", x=[3])
    assert rows(tmp_path) == [(1, "a"), (3, "b")]


@pytest.mark.system
def test_a_wider_type_takes_the_values_from_the_files_again(tmp_path: Path) -> None:
    put(tmp_path, "a", x=pl.Series([LARGE], dtype=pl.Int32))
    put(tmp_path, "b", x=pl.Series([0.5], dtype=pl.Float32))
    assert rows(tmp_path) == [(float(LARGE - 1), "a"), (0.5, "b")]
    put(tmp_path, "b", x=[0.1])
    assert rows(tmp_path) == [(float(LARGE), "a"), (0.1, "b")]


@pytest.mark.system
def test_partitions_that_do_not_go_together_say_so_until_they_do(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    put(tmp_path, "b", x=["text"])
    with pytest.raises(DataError, match="'x' holds numbers in partition 'a' and text in 'b'"):
        rows(tmp_path)
    put(tmp_path, "b", x=[2])
    assert rows(tmp_path) == [(1, "a"), (2, "b")]


@pytest.mark.system
def test_a_broken_file_spoils_its_own_table_until_it_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    put(tmp_path, "a", "experiments", x=[1])
    at(tmp_path, "a").current().path.write_bytes(b"no table")
    assert refresh_warehouse(tmp_path).postponed == ""
    assert rows(tmp_path, "experiments") == [(1, "a")]
    with pytest.raises(DataError, match="can't be read as a table"):
        rows(tmp_path)
    put(tmp_path, "a", x=[2])
    assert rows(tmp_path) == [(2, "a")]


def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    for key in "ab":
        put(tmp_path, key, x=[1])
    put(tmp_path, "a", "wide", x=[1])
    refresh_warehouse(tmp_path)
    remove(tmp_path, "a")
    remove(tmp_path, "a", "wide")
    assert refresh_warehouse(tmp_path).changes == Changes(removed=2)
    assert rows(tmp_path) == [(1, "b")]
    with pytest.raises(DataError, match="wide does not exist"):
        rows(tmp_path, "wide")


def test_many_partitions_are_read_in_several_transactions(tmp_path: Path) -> None:
    for key in "abcde":
        put(tmp_path, key, x=[ord(key)])
    with writable_index(tmp_path / INDEX, keep=False) as index:
        _, changes = update(index, find_tables(tmp_path), [], NATIVE, batch=2)
    assert changes == Changes(new=5)
    assert rows(tmp_path) == [(ord(key), key) for key in "abcde"]


def test_another_partition_column_makes_the_table_anew(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    for day in ("monday", "tuesday"):
        place_of(tmp_path, "main", "analysis", "day", day).write(pl.DataFrame({"x": [2]}))
    assert query(tmp_path, "select * from analysis order by day").rows() == [(2, "monday"), (2, "tuesday")]


def test_a_storage_that_was_moved_is_found_where_it_is(tmp_path: Path) -> None:
    for table in ("analysis", "wide"):
        put(tmp_path / "old", "a", table, x=[1])
    refresh_warehouse(tmp_path / "old")
    moved = (tmp_path / "old").rename(tmp_path / "new")
    assert rows(moved) == rows(moved, "wide") == [(1, "a")]


def test_a_reader_keeps_what_it_opened_while_the_index_is_refreshed(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    with duckdb.connect(tmp_path / INDEX, read_only=True) as reader:
        put(tmp_path, "b", x=[2])
        assert refresh_warehouse(tmp_path).changes == Changes(new=1)
        assert rows(tmp_path) == [(1, "a"), (2, "b")]
        assert reader.sql("select x from analysis").fetchall() == [(1,)]
    with duckdb.connect(tmp_path / INDEX, read_only=True) as reader:
        assert reader.sql("select x from analysis order by x").fetchall() == [(1,), (2,)]


def test_a_refresh_leaves_at_once_when_another_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a", x=[1])
    with FileLock(tmp_path / f".{INDEX}.lock"), monkeypatch.context() as patched:
        patched.setattr("time.sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
        assert "being refreshed by another process" in refresh_warehouse(tmp_path).postponed
    assert refresh_warehouse(tmp_path).changes == Changes(new=1)


def test_a_refresh_leaves_at_once_when_the_index_is_open_for_writing(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    with duckdb.connect(tmp_path / INDEX):
        assert "open for writing in this very process" in refresh_warehouse(tmp_path).postponed


def test_a_refresh_without_news_does_not_touch_the_index(tmp_path: Path) -> None:
    put(tmp_path, "a", x=[1])
    refresh_warehouse(tmp_path)
    before = (tmp_path / INDEX).stat()
    assert refresh_warehouse(tmp_path).changes == Changes()
    after = (tmp_path / INDEX).stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)


def test_there_is_nothing_to_refresh_without_a_storage(tmp_path: Path) -> None:
    assert refresh_warehouse(tmp_path / "none").changes == Changes()
    assert not (tmp_path / "none").exists()
