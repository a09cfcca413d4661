import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from assay.errors import DataError, IdError, StorageError
from assay.storage.parquet import StoredTable, write_parquet
from assay.storage.partitions import CURRENT, Partition, find_tables, place_of

ROOT = Path(__file__).parents[3]

# Processes are forked by one that has imported everything but used nothing: ten cost as much as one.
FORKS = """
import os, sys, signal
from pathlib import Path
import polars as pl
from assay.storage.partitions import place_of
from assay.storage.warehouse import query

def fork(work, *arguments):
    process = os.fork()
    if process:
        return process
    try:
        work(*arguments)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

def wait(processes):
    return [os.waitpid(process, 0)[1] for process in processes]
"""


def run_forks(script: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FORKS + script, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def at(root: Path, key: str = "ab12") -> Partition:
    return place_of(root, "main", "analysis", "experiment_id", key)


def valid_files(partition: Partition) -> list[Path]:
    return list(partition.folder.glob(f"{CURRENT}/*.parquet"))


def test_nothing_is_there_before_the_first_write(tmp_path: Path) -> None:
    assert at(tmp_path).current() is None
    assert at(tmp_path).use(StoredTable.read) is None


def test_a_write_replaces_the_partition_and_leaves_one_file(tmp_path: Path) -> None:
    first = at(tmp_path).write(pl.DataFrame({"a": [1]}))
    second = at(tmp_path).write(pl.DataFrame({"b": ["x"]}).lazy())
    assert at(tmp_path).current() == second
    assert second.read().rows() == [("x",)]
    assert [path.name for path in at(tmp_path).folder.rglob("*.parquet")] == [second.path.name]
    assert not first.path.exists()


def test_equal_tables_get_equal_fingerprints_and_others_do_not(tmp_path: Path) -> None:
    prints = [
        at(tmp_path, key).write(pl.DataFrame({"a": [value]})).fingerprint
        for key, value in zip("xyz", (1, 1, 2), strict=True)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_shared_result_is_stored_once_however_many_experiments_use_it(tmp_path: Path) -> None:
    source = tmp_path / "data" / "rows.parquet"
    write_parquet(pl.DataFrame({"a": [1]}), source)
    before = source.read_bytes()
    for key in ("one", "two", "two"):
        stored = at(tmp_path, key).write(StoredTable(source, "f00d"))
        assert stored.path.name == "f00d.parquet"
        assert stored.path.samefile(source)
    assert source.stat().st_nlink == 3
    at(tmp_path, "one").write(pl.DataFrame({"a": [2]}))
    assert source.read_bytes() == before
    assert source.stat().st_nlink == 2


def test_where_links_are_impossible_a_shared_result_is_copied(tmp_path: Path) -> None:
    other = Path("/dev/shm")  # noqa: S108 - the one place that is another file system everywhere
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    source = other / f"{tmp_path.name}.parquet"
    try:
        write_parquet(pl.DataFrame({"a": [1]}), source)
        assert at(tmp_path).write(StoredTable(source, "f00d")).read().rows() == [(1,)]
    finally:
        source.unlink()


def test_a_failed_write_leaves_the_former_file_and_no_traces(tmp_path: Path) -> None:
    kept = at(tmp_path).write(pl.DataFrame({"a": [1]}))
    with pytest.raises(DataError):
        at(tmp_path).write(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}))
    with pytest.raises(StorageError):
        at(tmp_path).write(StoredTable(tmp_path / "gone.parquet", "f00d"))
    assert at(tmp_path).current() == kept
    assert sorted(path.name for path in at(tmp_path).folder.iterdir()) == [".lock", CURRENT, kept.path.parent.name]


def test_a_table_of_another_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'ab12' belongs elsewhere(.|\n)*also holds 'cd34'"):
        at(tmp_path).write(pl.DataFrame({"experiment_id": ["ab12", "cd34"]}))
    assert at(tmp_path).write(pl.DataFrame({"experiment_id": ["ab12"]})).read().rows() == [("ab12",)]


@pytest.mark.parametrize("key", ["", "../up", "a/b", "a=b", "it's", "ü", "a" * 300, "A", "a\n", "latest", ".", "a b"])
def test_odd_keys_are_refused_before_anything_is_written(key: str, tmp_path: Path) -> None:
    with pytest.raises(IdError):
        at(tmp_path, key).write(pl.DataFrame({"a": [1]}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", 'a"b', "a;b", "a" * 200])
def test_odd_names_of_tables_schemas_and_columns_are_refused(name: str, tmp_path: Path) -> None:
    for names in (("main", name, "id"), (name, "t", "id"), *([("main", "t", name)] if name else [])):
        with pytest.raises(DataError):
            place_of(tmp_path, *names, key="k")


def test_a_fingerprint_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write_parquet(pl.DataFrame({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="fingerprint"):
        at(tmp_path / "root").write(StoredTable(tmp_path / "t.parquet", "../../x"))


@pytest.mark.system
def test_a_kill_before_any_file_operation_leaves_exactly_one_valid_file(tmp_path: Path) -> None:
    numbers = run_forks(KILLED_WRITES, tmp_path)
    assert len(numbers) > 10, "the write should have more than ten moments to be killed in"
    for number in numbers:
        partition = at(tmp_path / number)
        (path,) = valid_files(partition)
        assert pl.read_parquet(path)["version"].to_list() in ([1] * 3, [2] * 3)
        partition.write(pl.DataFrame({"version": [3]}))
        assert partition.use(StoredTable.read)["version"].to_list() == [3]
        assert len(list(partition.folder.iterdir())) == 3, "the next write removes what the killed one left"


KILLED_WRITES = """
def write(root, version):
    place_of(root, "main", "analysis", "experiment_id", "ab12").write(pl.DataFrame({"version": [version] * 3}))

def write_and_die(root, deadly):
    count = 0
    def hook(event, arguments):
        nonlocal count
        # Files are opened, made, linked, renamed, removed: each of these is a moment to die just before.
        if event in ("open", "os.mkdir", "os.symlink", "os.link", "os.rename", "os.remove", "os.rmdir") and any(
            str(root) in str(argument) for argument in arguments
        ):
            count += 1
            if count == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    write(root, 2)

def both(root, deadly):
    write(root, 1)
    write_and_die(root, deadly)

first, finished = 1, False
while not finished:
    numbers = range(first, first + 8)
    statuses = wait([fork(both, Path(sys.argv[1]) / str(number), number) for number in numbers])
    assert set(statuses) <= {0, signal.SIGKILL}, statuses
    print(*(number for number, status in zip(numbers, statuses) if status))
    first, finished = numbers[-1] + 1, 0 in statuses
"""


@pytest.mark.system
def test_eight_processes_write_and_read_one_partition_without_a_mixture_or_an_error(tmp_path: Path) -> None:
    run_forks(CONTENDING, tmp_path)
    assert len(valid_files(at(tmp_path))) == 1
    assert len(list(at(tmp_path).folder.iterdir())) == 3


CONTENDING = """
root = Path(sys.argv[1])
place = place_of(root, "main", "analysis", "experiment_id", "ab12")

def write(writer):
    for turn in range(12):
        value = writer * 100 + turn
        place.write(pl.DataFrame({f"c{index}": [value] * (value + 1) for index in range(1 + value % 5)}))

def read():
    for _ in range(60):
        frame = place.use(lambda table: table.read())
        if frame is not None:
            value = frame[0, 0]
            assert frame.shape == (value + 1, 1 + value % 5), frame
            assert all(frame[name].eq(value).all() for name in frame.columns)

statuses = wait([fork(write, writer) for writer in range(6)] + [fork(read) for _ in range(2)])
sys.exit(any(statuses))
"""


@pytest.mark.parametrize("target", ["/etc", "..", "../other/version-0123456789ab", "version-x", ".", None])
def test_a_current_version_that_leads_elsewhere_is_told(tmp_path: Path, target: str | None) -> None:
    place = at(tmp_path)
    place.write(pl.DataFrame({"n": [1]}))
    (place.folder / CURRENT).unlink()
    if target is None:
        (place.folder / CURRENT).write_text("no link")
    else:
        (place.folder / CURRENT).symlink_to(target)
    with pytest.raises(StorageError, match="expected a link to a version beside it"):
        place.current()
    (table,) = find_tables(tmp_path)
    with pytest.raises(StorageError, match="Materialize the asset again"):
        table.file(next(iter(table.versions)))
    place.write(pl.DataFrame({"n": [2]}))
    assert place.use(lambda table: table.read())["n"].to_list() == [2]


@pytest.mark.system
def test_eight_processes_meet_a_fresh_store(tmp_path: Path) -> None:
    run_forks(MEETING, tmp_path / "store")


MEETING = """
root = Path(sys.argv[1])

def write_and_ask(number):
    place_of(root, "main", "analysis", "experiment_id", f"p{number}").write(pl.DataFrame({"n": [number]}))
    assert number in query(root, "select n from analysis")["n"].to_list()

sys.exit(any(wait([fork(write_and_ask, number) for number in range(8)])))
"""
