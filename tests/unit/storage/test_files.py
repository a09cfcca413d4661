"""Files on the disk: complete or absent, linked where the file system can and copied where it can't."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from assay.errors import StorageError
from assay.storage.files import (
    CAN_NOT_LINK,
    TEMPORARY_PREFIX,
    atomic_path,
    link_or_copy,
    require_inner_names,
    try_link,
    update_json,
    update_text,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "result" / "table.parquet"
    path.parent.mkdir()
    path.write_bytes(b"new")
    return path


def refuse_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let every hard link fail, unless its name exists already: the kernel looks at that first."""

    def link(_source: Path, target: Path) -> None:
        code = errno.EEXIST if os.path.lexists(target) else number
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr(os, "link", link)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("old")
    with suppress(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["spec.yaml"]


def test_where_links_are_possible_both_names_are_one_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "experiment" / "tabular" / "table.parquet"
    link_or_copy(source, target)
    assert target.samefile(source)
    assert names(target.parent) == ["table.parquet"]


@pytest.mark.parametrize("number", sorted(CAN_NOT_LINK))
def test_where_links_are_impossible_the_file_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse_links(monkeypatch, number)
    target = tmp_path / "experiment" / "table.parquet"
    link_or_copy(source, target)
    assert target.read_bytes() == b"new"
    assert not target.samefile(source)
    assert names(target.parent) == ["table.parquet"]


def test_a_copy_is_on_the_disk_before_it_has_its_name(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, errno.EXDEV)
    flushed: list[str] = []
    fsync, target = os.fsync, tmp_path / "table.parquet"

    def record(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append(path.name)
        assert path == tmp_path or not target.exists()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    link_or_copy(source, target)
    assert [name.startswith(TEMPORARY_PREFIX) for name in flushed] == [True, False]
    assert flushed[1] == tmp_path.name


@pytest.mark.parametrize("links", [True, False])
def test_an_existing_target_is_replaced(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        refuse_links(monkeypatch, errno.EXDEV)
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "table.parquet").write_bytes(b"of the former result")
    link_or_copy(source, folder / "table.parquet")
    assert (folder / "table.parquet").read_bytes() == b"new"
    assert (folder / "table.parquet").samefile(source) == links
    assert names(folder) == ["table.parquet"]


def test_a_target_that_is_the_source_already_stays_and_leaves_no_temporary_name(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "experiment" / "table.parquet"
    link_or_copy(source, target)
    link_or_copy(source, target)
    assert target.samefile(source)
    assert names(target.parent) == ["table.parquet"]


def test_a_full_disk_is_an_error_and_not_a_reason_to_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_links(monkeypatch, errno.ENOSPC)
    folder = tmp_path / "experiment"
    with pytest.raises(OSError, match="No space left") as raised:
        link_or_copy(source, folder / "table.parquet")
    assert raised.value.errno == errno.ENOSPC
    assert names(folder) == []


def test_a_full_disk_keeps_an_existing_target(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_links(monkeypatch, errno.ENOSPC)
    target = tmp_path / "table.parquet"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        link_or_copy(source, target)
    assert target.read_bytes() == b"old"


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "gone.parquet", tmp_path / "table.parquet")


def test_trying_a_link_says_whether_it_was_made(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert try_link(source, tmp_path / "one.parquet")
    with pytest.raises(FileExistsError):
        try_link(source, tmp_path / "one.parquet")
    refuse_links(monkeypatch, errno.EXDEV)
    assert not try_link(source, tmp_path / "two.parquet")
    refuse_links(monkeypatch, errno.EDQUOT)
    with pytest.raises(OSError, match="quota"):
        try_link(source, tmp_path / "three.parquet")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\\b", "", "a/../../b"])
def test_names_that_lead_out_of_a_folder_are_refused(name: str) -> None:
    with pytest.raises(StorageError, match="The manifest lists a file"):
        require_inner_names(["inside/table.parquet", name], "The manifest")


def test_a_file_is_replaced_only_by_another_content(tmp_path):
    path = tmp_path / "a" / "b.json"
    update_json(path, {"x": 1})
    inode = path.stat().st_ino
    update_json(path, {"x": 1})
    assert path.stat().st_ino == inode
    kept = path.open()
    update_json(path, {"x": 2})
    assert json.loads(path.read_text()) == {"x": 2}
    with kept:
        assert json.load(kept) == {"x": 1}, "it was replaced, not written into"
    update_text(path, "")
    update_text(path, "")
    assert path.read_text() == ""
