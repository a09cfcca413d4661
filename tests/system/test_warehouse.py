"""The index under any history of the storage, under many processes, and under kills."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.storage.partitions import Partition, find_tables, place_of
from assay.storage.warehouse import INDEX, query, refresh_warehouse
from assay.storage.warehouse.database import Index
from assay.storage.warehouse.refresh import update

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SQL = "select * from analysis"
LARGE = 2**24 + 1
"""The smallest whole number that a 32-bit float can't hold: a cast too many shows."""

COLUMNS = {
    "n": [pl.Series([LARGE, 7], dtype=pl.Int32), pl.Series([1.5, None], dtype=pl.Float32), pl.Series([0.1, 2.0])],
    "N2": [pl.Series([None, None], dtype=pl.Null), pl.Series(["t", ""]), pl.Series(["a", "b"], dtype=pl.Categorical)],
    "d": [pl.Series([0, 1]).cast(pl.Date), pl.Series([0, 1]).cast(pl.Datetime("us"))],
    "s": [pl.Series([{"a": 1}, None]), pl.Series([{"a": 0.5, "b": "x"}, {"a": None, "b": None}])],
}
TEXT = pl.Series(["text", "too"])
"""Goes with no number."""


def at(root: Path, key: str, table: str = "analysis") -> Partition:
    return place_of(root, "main", table, "experiment_id", key)


def frame_of(columns: dict[str, pl.Series | None], is_odd: bool, height: int) -> pl.DataFrame:
    present = {name: series for name, series in columns.items() if series is not None}
    odd = {"n": TEXT} if is_odd else {}
    return pl.DataFrame({"base": [True, False], **present, **odd}).head(height)


def frames() -> st.SearchStrategy[pl.DataFrame]:
    columns = st.fixed_dictionaries({name: st.none() | st.sampled_from(series) for name, series in COLUMNS.items()})
    return st.builds(frame_of, columns, st.sampled_from([False] * 5 + [True]), st.integers(0, 2))


def answer_of_views(root: Path) -> pl.DataFrame:
    index = Index(duckdb.connect())
    index.create()
    update(index, find_tables(root), [], native=())
    return index.connection.sql(SQL).pl()


def comparable(frame: pl.DataFrame) -> tuple[dict[str, pl.DataType], list[str]]:
    ordered = frame.select(sorted(frame.columns))
    return dict(ordered.schema), sorted(map(repr, ordered.rows()))


def outcome(ask: Callable[[], pl.DataFrame]) -> object:
    """Types and rows in any order, or what is wrong; each names other tables that the missing one may be."""
    try:
        return comparable(ask())
    except DataError as error:
        return str(error).partition("does not exist!")[0]
    except duckdb.Error as error:
        return f"The query failed: {error}".partition("does not exist!")[0]


def check(root: Path) -> None:
    assert outcome(lambda: query(root, SQL)) == outcome(lambda: answer_of_views(root))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | frames(), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_any_writes_and_removals_the_answer_is_that_of_views_over_the_files(
    steps: list[tuple[str, pl.DataFrame | None, bool]],
) -> None:
    with TemporaryDirectory() as name:
        root = Path(name)
        for key, frame, is_asked in steps:
            if frame is None:
                (at(root, key).folder / "current").unlink(missing_ok=True)
            else:
                at(root, key).write(frame)
            if is_asked:
                check(root)
        check(root)


def fill(root: Path, count: int) -> None:
    """Write partitions as fast as the disk takes them when nobody asks it to be sure."""
    for number in range(count):
        folder = at(root, f"e{number:04d}").folder
        (folder / "version-000000000000").mkdir(parents=True)
        pl.DataFrame({"x": [number]}).write_parquet(folder / "version-000000000000" / f"{number}.parquet")
        (folder / "current").symlink_to("version-000000000000")


@contextmanager
def script(text: str, *arguments: object, count: int = 1) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


READER = """
import sys, time
from pathlib import Path
from assay.storage.warehouse import query, refresh_warehouse
root, until, seen, asked = Path(sys.argv[1]), time.time() + float(sys.argv[2]), 0, 0
while time.time() < until or asked < 4:
    (count, keys), = query(root, "select count(*), count(distinct experiment_id) from analysis").rows()
    assert count == keys >= seen, (count, keys, seen)
    seen, asked = count, asked + 1
    refresh_warehouse(root)
print(asked)
"""

WRITER = """
import sys, time
from pathlib import Path
import polars as pl
from assay.storage.partitions import place_of
root, until, number = Path(sys.argv[1]), time.time() + float(sys.argv[2]), 0
while time.time() < until or number < 4:
    key = f"e{number // 2:04d}"  # every partition twice: new, and replaced
    place_of(root, "main", "analysis", "experiment_id", key).write(pl.DataFrame({"x": [number]}))
    number += 1
print(number)
"""


def test_readers_refresh_and_ask_while_others_write_and_none_fails(tmp_path: Path) -> None:
    at(tmp_path, "first").write(pl.DataFrame({"x": [0]}))
    with script(READER, tmp_path, 15, count=4) as readers, script(WRITER, tmp_path, 12) as (writer,):
        answers = [process.communicate(timeout=120) for process in (*readers, writer)]
        assert [process.returncode for process in (*readers, writer)] == [0] * 5, answers
    assert all(int(out) > 3 for out, _ in answers), answers
    written = int(answers[-1][0])
    assert query(tmp_path, "select count(*) from analysis").item() == (written + 1) // 2 + 1
    check(tmp_path)


REFRESHER = """
import sys
from pathlib import Path
from assay.storage.warehouse import refresh_warehouse
print("ready", flush=True)
print(refresh_warehouse(Path(sys.argv[1])))
"""


def test_a_killed_refresh_leaves_an_index_that_the_next_one_continues(tmp_path: Path) -> None:
    fill(tmp_path, 300)
    rng = random.Random(0)
    for kill in range(12):
        for number in rng.sample(range(300), 60):
            folder = at(tmp_path, f"e{number:04d}").folder
            version = folder / f"version-{kill + 1:06x}{number:06x}"
            version.mkdir()
            pl.DataFrame({"x": [kill * 1000 + number]}).write_parquet(version / "t.parquet")
            (folder / "link").symlink_to(version.name)
            (folder / "link").replace(folder / "current")
        with script(REFRESHER, tmp_path) as (process,):
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.4))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if (tmp_path / INDEX).exists():
            with duckdb.connect(tmp_path / INDEX, read_only=True) as index:
                index.sql("show all tables").fetchall()
    check(tmp_path)
    assert refresh_warehouse(tmp_path).postponed == ""
    check(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp-")] == []
