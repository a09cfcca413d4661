"""Writes that are either complete or absent: temporary name, fsync, rename.

Belongs here: how bytes reach the disk. Does not belong here: what they mean.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from assay.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"


def temporary_sibling(path: Path) -> Path:
    """Return an unused name beside ``path``, so that a rename onto it stays on one file system."""
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{uuid4().hex[:12]}-{path.name}")


def fsync_path(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path; after the block it becomes ``path``, or vanishes if the block failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        fsync_path(temporary)
        temporary.replace(path)
        fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


MANIFEST = "manifest.json"


def is_complete(folder: Path) -> bool:
    """Return whether a result folder has its manifest, which is written last."""
    return (folder / MANIFEST).is_file()


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below ``folder``, flushed to the disk on the way."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda name: _flush_and_hash(folder / name), names))
    return dict(zip(names, entries, strict=True))


def _flush_and_hash(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return {"size_bytes": path.stat().st_size, "sha256": digest}


def seal(folder: Path, head: dict[str, Any]) -> None:
    """Write the manifest, last of all files, and force everything to the disk."""
    write_json(folder / MANIFEST, {**head, "files": describe_files(folder)})
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            fsync_path(path)


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a sealed folder into place; a former result of the same name is set aside first, then removed."""
    former = None
    if folder.exists():
        former = temporary_sibling(folder)
        folder.rename(former)
    temporary.rename(folder)
    fsync_path(folder.parent)
    if former is not None:
        shutil.rmtree(former)


def sweep(folder: Path) -> None:
    """Remove what killed builds of this very result left; the caller holds its write lock."""
    for leftover in folder.parent.glob(f"{TEMPORARY_PREFIX}*-{folder.name}"):
        shutil.rmtree(leftover, ignore_errors=True)


def require_inner_names(names: Iterable[str], where: str) -> None:
    """Refuse names that lead out of a folder: what somebody else's file says decides where nothing is written.

    Raises:
        StorageError: A name is absolute, has ``..`` or a backslash.
    """
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name:
            raise StorageError(f"{where} lists a file {name!r}, which is not inside of the folder. It is not used.")
