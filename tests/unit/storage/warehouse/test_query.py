import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest

from assay.errors import DataError
from assay.storage.partitions import place_of
from assay.storage.warehouse import INDEX, Changes, query, rebuild_warehouse, refresh_warehouse


def put(root: Path, key: str, frame: pl.DataFrame, table: str = "analysis", schema: str = "main") -> None:
    place_of(root, schema, table, "experiment_id", key).write(frame)


def opened(root: Path, sql: str) -> list[tuple[object, ...]]:
    """What another tool sees that opens the index as it lies there."""
    with duckdb.connect(root / INDEX, read_only=True) as index:
        return index.sql(sql).fetchall()


def test_a_table_is_asked_by_its_bare_name(tmp_path: Path) -> None:
    put(tmp_path, "ab12", pl.DataFrame({"a": [1, 2]}))
    assert query(tmp_path, "select * from analysis order by a").rows() == [(1, "ab12"), (2, "ab12")]


def test_a_table_that_is_not_there_says_which_are(tmp_path: Path) -> None:
    put(tmp_path, "ab12", pl.DataFrame({"a": [1, 2]}))
    with pytest.raises(
        DataError, match="worst_items does not exist!\nassay sql without a query lists the tables"
    ) as told:
        query(tmp_path, "select * from worst_items")
    assert "$(assay path ID)/analysis/worst_items.parquet" in str(told.value)
    with pytest.raises(DataError, match="Function with name nothing does not exist!") as told:
        query(tmp_path, "select nothing(a) from analysis")
    assert "lists the tables" not in str(told.value)


def test_other_schemas_and_tables_without_partitions_are_there(tmp_path: Path) -> None:
    put(tmp_path, "ab12", pl.DataFrame({"a": [1]}), "t", "other")
    place_of(tmp_path, "main", "single").write(pl.DataFrame({"b": [2]}))
    assert query(tmp_path, "select a, b from other.t, single").rows() == [(1, 2)]
    assert rebuild_warehouse(tmp_path) == ["main.single", "other.t"]


def test_ids_stay_text(tmp_path: Path) -> None:
    for key in ("007", "1e5", "2024-01-01"):
        put(tmp_path, key, pl.DataFrame({"a": [1]}))
    ids = query(tmp_path, "select experiment_id from analysis order by all")["experiment_id"].to_list()
    assert ids == ["007", "1e5", "2024-01-01"]


def test_columns_join_by_name_widen_and_are_null_where_missing(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": pl.Series([1], dtype=pl.Int8), "only_a": ["t"]}))
    put(tmp_path, "b", pl.DataFrame({"only_b": [True], "x": [2.5]}))
    put(tmp_path, "c", pl.DataFrame(schema={"x": pl.Int64}))
    answer = query(tmp_path, "select x, only_a, only_b from analysis order by x")
    assert answer.rows() == [(1.0, "t", None), (2.5, None, True)]


def test_text_against_number_is_an_error_naming_both_only_for_that_table(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}), "bad")
    put(tmp_path, "b", pl.DataFrame({"x": ["1"]}), "bad")
    put(tmp_path, "a", pl.DataFrame({"x": [1]}), "good")
    with pytest.raises(DataError, match="column 'x' holds numbers in partition 'a' and text in 'b'"):
        query(tmp_path, "select * from bad")
    assert len(query(tmp_path, "select * from good")) == 1


def test_a_stale_index_is_rebuilt(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    query(tmp_path, "select * from analysis")
    put(tmp_path, "a", pl.DataFrame({"x": ["now text"]}))
    put(tmp_path, "b", pl.DataFrame({"n": [1]}), "new")
    assert query(tmp_path, "select x, n from analysis, new").rows() == [("now text", 1)]


def test_a_current_index_is_used_as_it_is(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    query(tmp_path, "select * from analysis")
    before = (tmp_path / INDEX).stat().st_ino
    query(tmp_path, "select * from analysis")
    assert (tmp_path / INDEX).stat().st_ino == before


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_a_corrupt_index_is_rebuilt(content: bytes, tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    (tmp_path / INDEX).write_bytes(content)
    assert query(tmp_path, "select * from analysis").rows() == [(1, "a")]
    assert opened(tmp_path, "select x from analysis") == [(1,)]


def test_a_truncated_index_is_rebuilt(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    rebuild_warehouse(tmp_path)
    whole = (tmp_path / INDEX).read_bytes()
    (tmp_path / INDEX).write_bytes(whole[: len(whole) // 2])
    assert query(tmp_path, "select * from analysis").rows() == [(1, "a")]


def test_whoever_opens_the_index_sees_wide_tables_as_they_are_and_native_ones_as_of_the_last_refresh(
    tmp_path: Path,
) -> None:
    for table in ("analysis", "wide"):
        put(tmp_path, "a", pl.DataFrame({"x": [1]}), table)
    rebuild_warehouse(tmp_path)
    for table in ("analysis", "wide"):
        put(tmp_path, "a", pl.DataFrame({"x": [2]}), table)
        put(tmp_path, "b", pl.DataFrame({"x": [3]}), table)
    assert opened(tmp_path, "select x from wide order by x") == [(2,), (3,)]
    assert opened(tmp_path, "select x from analysis order by x") == [(1,)]
    assert refresh_warehouse(tmp_path).changes == Changes(new=2, changed=2)
    assert opened(tmp_path, "select x from analysis order by x") == [(2,), (3,)]


@contextmanager
def held_by_another_process(path: Path) -> Iterator[int]:
    script = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def test_someone_holding_the_index_only_delays_its_refresh(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    rebuild_warehouse(tmp_path)
    with held_by_another_process(tmp_path / INDEX) as pid:
        put(tmp_path, "b", pl.DataFrame({"n": [1]}), "new")
        assert query(tmp_path, "select x, n from analysis, new").rows() == [(1, 1)]
        with pytest.raises(DataError, match=rf"open for writing in .*{pid}"):
            rebuild_warehouse(tmp_path)
    assert rebuild_warehouse(tmp_path) == ["main.analysis", "main.new"]


def test_this_process_may_hold_the_index_too(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    rebuild_warehouse(tmp_path)
    for read_only in (True, False):
        with duckdb.connect(tmp_path / INDEX, read_only=read_only):
            put(tmp_path, "b", pl.DataFrame({"n": [1]}), f"new_{read_only}")
            assert query(tmp_path, f"select n from new_{read_only}").rows() == [(1,)]


def test_asking_changes_nothing(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    for statement in ("drop view analysis", "create table t (a int)", "-- nothing", "selec 1", "select * from nope"):
        with pytest.raises(DataError):
            query(tmp_path, statement)
    assert query(tmp_path, "select * from analysis").rows() == [(1, "a")]


def other_files(folder: Path) -> dict[str, Path]:
    """Files beside the storage, by what they are."""
    if folder.exists():
        return {path.suffix[1:]: path for path in folder.iterdir()}
    folder.mkdir()
    (folder / "x.csv").write_text("secret\n1\n")
    pl.DataFrame({"secret": [1]}).write_parquet(folder / "x.parquet")
    with duckdb.connect(folder / "x.duckdb") as database:
        database.execute("create table t as select 1 as secret")
    return {path.suffix[1:]: path for path in folder.iterdir()}


SINCE_2 = pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1 takes PIVOT apart, and PRAGMA for a question")

ELSEWHERE = [
    "from read_csv('{csv}')",
    "from '{csv}'",
    "from read_text('{csv}')",
    "from read_blob('{csv}')",
    "from sniff_csv('{csv}')",
    "from '{parquet}'",
    "from read_parquet('{parquet}')",
    "from parquet_schema('{parquet}')",
    "from parquet_scan('{root}/tables/../../other/x.parquet')",
    "from read_parquet('{root}/link.parquet')",
    "from query('from read_csv(''{csv}'')')",
    "select (select count(*) from read_csv('{csv}')) as n from analysis",
    "with a as (from read_csv('{csv}')) from a",
    "explain analyze from read_csv('{csv}')",
    "from glob('/etc/*')",
    "from read_text('/proc/self/environ')",
    "from read_csv('/dev/stdin')",
    "from read_csv('http://127.0.0.1:1/x.csv')",
    "from read_parquet('s3://bucket/x.parquet')",
    "from read_text('{root}/warehouse.duckdb')",
    "from enable_logging('QueryLog', storage='file', storage_path='{root}/log')",
    "select getenv('HOME')",
    "select * from frame",
    "select * from statement",
]

STATEMENTS = [
    "copy analysis to '{root}/out.csv'",
    "copy analysis to '{root}/tables/out.parquet'",
    "copy (pivot analysis on x using sum(x)) to '{root}/tables/out.parquet'",
    "explain analyze copy (select 1) to '{root}/tables/out.parquet'",
    "explain analyse copy (select 1) to '{root}/tables/out.parquet'",
    "explain/**/analyze copy (select 1) to '{root}/tables/out.parquet'",
    "explain (analyze) copy (select 1) to '{root}/tables/out.parquet'",
    "export database '{root}/tables/export'",
    "import database '{other}'",
    "attach '{duckdb}' as other",
    "attach ':memory:' as other",
    "install httpfs",
    "load httpfs",
    pytest.param("pragma database_list", marks=SINCE_2),
    "call enable_logging(storage='file', storage_path='{root}/log')",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset allowed_directories",
    "set variable a = 1",
    "create temp table t as select 1 as a",
    "create macro m() as 1",
    "create secret s (type s3)",
    "insert into analysis values (1)",
    "prepare p as select 1",
    "checkpoint",
    "begin",
    "vacuum",
    "use memory",
    "select 1; select 2",
    "select 1; copy analysis to '{root}/tables/out.parquet'",
]


@pytest.fixture(params=["index", "views"], scope="module")
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A storage with other files beside it, queried by the index, or by views while another process has that open.

    One for all questions, because none of them changes it.
    """
    tmp_path = tmp_path_factory.mktemp(request.param)
    root = tmp_path / "storage"
    other_files(tmp_path / "other")
    put(root, "a", pl.DataFrame({"x": [1]}))
    put(root, "a", pl.DataFrame({"x": [1]}), "wide")
    rebuild_warehouse(root)
    (root / "link.parquet").symlink_to(tmp_path / "other" / "x.parquet")
    if request.param == "index":
        yield root
        return
    with held_by_another_process(root / INDEX):
        put(root, "b", pl.DataFrame({"x": [1]}), "wide")
        yield root


@pytest.mark.parametrize("statement", ELSEWHERE)
@pytest.mark.system
def test_a_query_reads_nothing_but_the_stored_tables(statement: str, storage: Path) -> None:
    names = other_files(storage.parent / "other")
    frame = pl.DataFrame({"secret": [1]})  # a table by its name, for a query that reads variables
    with pytest.raises(DataError):
        query(storage, statement.format(root=storage, **names))
    assert len(frame) == len(query(storage, "from wide where experiment_id = 'a'")) == 1


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.system
def test_a_query_changes_nothing(statement: str, files: bool, storage: Path) -> None:
    names = other_files(storage.parent / "other")
    before = sorted(storage.parent.rglob("*"))
    with pytest.raises(DataError):
        query(storage, statement.format(root=storage, other=storage.parent / "other", **names), files)
    assert sorted(storage.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "statement",
    [
        "from analysis",
        "from analysis;",
        "  -- a remark\nwith a as (from wide) from a",
        "values (1)",
        "(select 1) union all (select 2)",
        "describe analysis",
        "show tables",
        "summarize wide",
        pytest.param("pivot analysis on experiment_id using sum(x)", marks=SINCE_2),
        pytest.param("with a as (pivot analysis on experiment_id using sum(x)) from a -- a remark", marks=SINCE_2),
        "explain from analysis",
        "explain analyze from wide",
        "select '{\"a\": 1}'::json ->> 'a', now()::timestamptz, 'copy', 'a;b'",
        "from information_schema.tables",
    ],
)
@pytest.mark.system
def test_every_question_is_answered(statement: str, storage: Path) -> None:
    assert len(query(storage, statement)) > 0


@pytest.mark.parametrize("statement", ["from read_csv('{csv}')", "from '{parquet}'", "from glob('{csv}')"])
def test_other_files_are_read_where_that_is_allowed(statement: str, storage: Path) -> None:
    names = other_files(storage.parent / "other")
    assert len(query(storage, statement.format(**names), files=True)) == 1
    with pytest.raises(DataError, match="assay sql --files"):
        query(storage, statement.format(**names))


@pytest.mark.system
def test_one_connection_after_another_is_restricted(storage: Path) -> None:
    for _ in range(3):
        assert len(query(storage, "from wide")) > 0
        with pytest.raises(DataError, match="reads the stored tables and nothing else"):
            query(storage, "from read_text('/etc/hostname')")


def test_an_empty_or_missing_storage_has_no_tables_and_is_not_made(tmp_path: Path) -> None:
    assert query(tmp_path / "none", "from information_schema.tables where table_schema = 'main'").is_empty()
    assert not (tmp_path / "none").exists()


def test_intervals_come_as_text(tmp_path: Path) -> None:
    answer = query(tmp_path, "select interval 1 day as i, [interval 2 days] as l, 3 as n")
    assert answer.rows() == [("1 day", "[2 days]", 3)]


def test_an_odd_storage_path_is_only_a_path(tmp_path: Path) -> None:
    root = tmp_path / "we[i]rd *? 'x; ü"
    put(root, "a", pl.DataFrame({"x": [1]}))
    assert query(root, "select * from analysis").rows() == [(1, "a")]


def test_what_a_killed_rebuild_left_is_removed(tmp_path: Path) -> None:
    put(tmp_path, "a", pl.DataFrame({"x": [1]}))
    leftover = tmp_path / f".tmp-1-dead-{INDEX}"
    leftover.write_bytes(b"half")
    (tmp_path / f"{INDEX}.wal").write_bytes(b"of a writer that died")
    rebuild_warehouse(tmp_path)
    assert not leftover.exists()
    assert query(tmp_path, "select * from analysis").rows() == [(1, "a")]
