"""The result store: built once, shared, complete or absent, never half-written."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from assay.errors import StorageError
from assay.pipeline import StageConfig
from assay.storage.files import MANIFEST, is_complete
from assay.storage.locks.holders import holders
from assay.storage.results import REPORT, ResultStore, verify
from tests.helpers.results import Section, build

DEADLINE_S = 60
"""Ends what hangs; nothing is expected to take that long, on however busy a machine."""


def config(stage="splits", digest="d", **section):
    return StageConfig("ab12", stage, "regression", 42, Section(**section), digest)


def write_hello(folder: Path):
    (folder / "sub").mkdir()
    (folder / "sub" / "hello.txt").write_text("hello")
    return {"rows": 1}


def never(folder: Path):
    pytest.fail("built again")


def test_a_result_that_somebody_reads_for_long_is_found_at_once(tmp_path):
    store = ResultStore(tmp_path)
    built = build(store, config(), {"source": "x"}, write_hello)
    with store.reading(built), ThreadPoolExecutor(1) as pool:
        found = pool.submit(build, store, config(), {"source": "x"}, never)
        assert found.result(timeout=DEADLINE_S) == built


def test_a_result_is_built_once_and_found_afterwards(tmp_path):
    store = ResultStore(tmp_path)
    built = build(store, config(), {"source": "x"}, write_hello)
    found = build(store, config(), {"source": "x"}, never)
    assert (built.reused, found.reused) == (False, True)
    assert found == built
    assert found.report == {"rows": 1}
    assert (found.folder / "sub" / "hello.txt").read_text() == "hello"
    assert verify(found) == []


def test_what_a_build_that_failed_left_in_scratch_is_there_for_the_next_and_gone_with_the_result(tmp_path):
    store = ResultStore(tmp_path)
    with suppress(ValueError), store.build(config(), {"source": "x"}) as first:
        first.scratch.mkdir(parents=True)
        (first.scratch / "half").write_text("done")
        raise ValueError("half way")
    assert first.needed
    with store.build(config(), {"source": "y"}) as other:
        assert other.scratch != first.scratch
        other.report = {}
    with store.build(config(), {"source": "x"}) as second:
        second.report = {"half": (second.scratch / "half").read_text()}
    assert second.result.report == {"half": "done"}
    assert not second.scratch.exists()


def test_another_input_or_another_spec_makes_another_result(tmp_path):
    store = ResultStore(tmp_path)
    one = build(store, config(), {"source": "x"}, write_hello)
    two = build(store, config(), {"source": "y"}, write_hello)
    three = build(store, config(digest="e"), {"source": "x"}, write_hello)
    assert len({one.fingerprint, two.fingerprint, three.fingerprint}) == 3


def test_the_manifest_knows_every_ancestor(tmp_path):
    store = ResultStore(tmp_path)
    images = build(store, config("generated_images"), {}, write_hello)
    splits = build(store, config("splits"), {"generated_images": images}, write_hello)
    crops = build(store, config("crops"), {"splits": splits}, write_hello)
    assert crops.manifest["ancestors"] == {"generated_images": images.fingerprint, "splits": splits.fingerprint}


def test_a_block_that_forgets_its_report_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="splits set no report"), ResultStore(tmp_path).build(config(), {}) as build:
        (build.folder / "half").write_text("half")
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_a_failing_build_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "half").write_text("half")
        raise ValueError("no")

    store = ResultStore(tmp_path)
    with pytest.raises(ValueError, match="no"):
        build(store, config(), {}, fail)
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_clear_folder_builds_again_and_keeps_the_old_result_until_the_new_one_is_complete(tmp_path):
    store = ResultStore(tmp_path)
    old = build(store, config(), {}, write_hello)

    def fail(folder):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        build(store, config(clear_folder=True), {}, fail)
    assert verify(old) == []
    again = build(store, config(clear_folder=True), {}, lambda folder: {"rows": 2})
    assert not again.reused
    assert again.report == {"rows": 2}


@pytest.mark.defect("B10")
def test_what_is_built_again_keeps_no_file_of_the_former_result(tmp_path):
    store = ResultStore(tmp_path)
    former = build(store, config(), {}, write_hello)
    again = build(store, config(clear_folder=True), {}, lambda folder: {"rows": 2})
    assert again.folder == former.folder
    assert {path.name for path in again.folder.rglob("*")} == {MANIFEST, REPORT}


@pytest.mark.defect("B10")
def test_a_former_result_that_cannot_be_deleted_is_an_error(tmp_path, monkeypatch):
    store = ResultStore(tmp_path)
    build(store, config(), {}, write_hello)
    unlink = os.unlink

    def keep_hello(path, **keys):
        if Path(path).name == "hello.txt":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, **keys)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", keep_hello)
        with pytest.raises(StorageError, match=r"Operation not permitted \(hello\.txt\)"):
            build(store, config(clear_folder=True), {}, lambda folder: {"rows": 2})


@pytest.mark.defect("B5")
@pytest.mark.system
def test_clear_folder_waits_for_who_reads_and_can_delete_no_lock(tmp_path):
    store, told, waits = ResultStore(tmp_path), [], Event()

    def tell(line):
        told.append(line)
        waits.set()

    result = build(store, config(), {}, write_hello)
    with ThreadPoolExecutor(1) as pool:
        with store.reading(result):
            again = pool.submit(build, store, config(clear_folder=True), {}, lambda folder: {"rows": 2}, tell)
            assert waits.wait(DEADLINE_S)
            with pytest.raises(TimeoutError):
                again.result(timeout=0.5)
            assert (result.folder / "sub" / "hello.txt").exists()
        assert again.result(timeout=DEADLINE_S).report == {"rows": 2}
    assert [line[:32] for line in told] == [f"read lock on splits/{result.fingerprint}"[:32]]
    locks = [path for path in tmp_path.rglob("*") if ".lock" in path.name]
    assert locks
    assert all(path.is_relative_to(tmp_path / "locks") for path in locks), "what is cleared holds no lock"


@pytest.mark.parametrize("content", ["", "[]", '{"x": NaN}'])
@pytest.mark.parametrize("name", [MANIFEST, REPORT])
def test_a_damaged_record_of_a_result_says_what_to_do(tmp_path, name, content):
    result = build(ResultStore(tmp_path), config(), {}, write_hello)
    (result.folder / name).write_text(content)
    with pytest.raises(StorageError, match=f"{name}.*Delete the folder .*: splits is then made again"):
        str(result.report if name == REPORT else result.manifest)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_result_is_locked_until_it_is_published(tmp_path, is_there):
    store, found = ResultStore(tmp_path), []
    if is_there:
        build(store, config(), {}, write_hello)
    with store.build(config(), {}, publish=lambda _: found.extend(holders(tmp_path / "locks"))) as made:
        if made.needed:
            made.report = write_hello(made.folder)
    assert [(holder.lock, holder.mode) for holder in found] == [(f"splits/{made.result.fingerprint}", "read")]
    assert holders(tmp_path / "locks") == []


def test_a_full_or_unwritable_storage_is_one_clear_error(tmp_path):
    def fill(folder):
        raise OSError(28, "No space left on device", str(folder / "x"))

    with pytest.raises(StorageError, match=r"splits can't be written: No space left.*run again"):
        build(ResultStore(tmp_path), config(), {}, fill)


def test_a_storage_root_that_is_a_file_is_one_clear_error(tmp_path):
    root = tmp_path / "file"
    root.write_text("")
    with pytest.raises(StorageError, match="Is the storage writable"):
        build(ResultStore(root), config(), {}, write_hello)


def test_verify_names_what_changed(tmp_path):
    result = build(ResultStore(tmp_path), config(), {}, write_hello)
    (result.folder / "sub" / "hello.txt").write_text("other")
    (result.folder / "new").write_text("")
    assert verify(result) == ["new is not in the manifest", "sub/hello.txt has changed"]


def test_opening_a_result_that_is_gone_says_what_to_do(tmp_path):
    with pytest.raises(StorageError, match="Materialize crops again"):
        ResultStore(tmp_path).open("crops", "00")


def build_together(count: int, folder: Path, meanwhile: Callable[[int], None]) -> list[int | None]:
    """Let processes ask for the same result at the same moment; returns their exit codes.

    Each build writes a line into ``folder / "log"``, makes its files, and then calls ``meanwhile`` with their number.
    """
    context = multiprocessing.get_context("fork")
    all_ready, log = context.Barrier(count), folder / "log"

    def fill(temporary: Path) -> dict[str, Any]:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        report = write_hello(temporary)
        meanwhile(len(log.read_text().splitlines()))
        return report

    def ask() -> None:
        all_ready.wait(DEADLINE_S)
        build(ResultStore(folder / "storage"), config(), {}, fill)

    workers = [context.Process(target=ask) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(DEADLINE_S)
    return [worker.exitcode for worker in workers]


@pytest.mark.system
def test_twenty_processes_that_want_the_same_result_at_once_build_it_once(tmp_path):
    assert build_together(20, tmp_path, lambda builds: time.sleep(0.1)) == [0] * 20
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert len(list((tmp_path / "storage" / "data" / "splits").iterdir())) == 1


@pytest.mark.system
def test_when_the_builder_is_killed_exactly_one_of_those_who_wait_takes_over(tmp_path):
    def die_first(builds: int) -> None:
        if builds == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    assert sorted(build_together(8, tmp_path, die_first)) == [-signal.SIGKILL] + [0] * 7
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    (folder,) = (tmp_path / "storage" / "data" / "splits").iterdir()
    assert is_complete(folder)


def _hang_in_build(root: Path) -> None:
    def fill(folder):
        write_hello(folder)
        (root / "building").touch()
        time.sleep(60)
        return {}

    build(ResultStore(root), config(), {}, fill)


def test_a_killed_build_frees_its_lock_and_its_leftovers_are_swept(tmp_path):
    worker = multiprocessing.get_context("fork").Process(target=_hang_in_build, args=(tmp_path,))
    worker.start()
    deadline = time.monotonic() + DEADLINE_S
    while not (tmp_path / "building").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    folder = tmp_path / "data" / "splits"
    assert not any(is_complete(path) for path in folder.iterdir())
    result = build(ResultStore(tmp_path), config(), {}, write_hello)
    assert sorted(path.name for path in folder.iterdir()) == [result.fingerprint]
    assert (result.folder / MANIFEST).is_file()
