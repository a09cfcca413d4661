"""Atomic writes: files and result folders that are either complete or absent (temporary name, fsync, rename).

Belongs here: how bytes reach the disk. Does not belong here: what they mean (``results``, ``partitions``).
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from assay.errors import StorageError

TEMPORARY_PREFIX = ".tmp-"

MANIFEST = "manifest.json"
"""File of a result folder that lists all others with size and SHA-256; it is written last."""

CAN_NOT_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
)
"""Errors that mean "no hard link is possible here": another file system, one without links, or too many links.

EACCES is among them because some network file systems answer so; where the folder is not writable, the copy fails with
the same error.
"""


def temporary_sibling(path: Path) -> Path:
    """Return an unused name in the same folder as ``path``, so that a rename onto it stays on one file system."""
    return path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{uuid4().hex[:12]}-{path.name}")


def is_leftover(name: str) -> bool:
    """Return whether a relative name is that of a temporary file, or of a file in a temporary folder."""
    return any(part.startswith(TEMPORARY_PREFIX) for part in name.split("/"))


def fsync_path(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` after the block, or is removed if the block fails."""
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


def write_soon(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file atomically, without waiting for the disk: a power cut may leave it damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def update_text(path: Path, text: str) -> None:
    """Write a whole UTF-8 text file atomically, unless it holds this text already: nothing waits for the disk then."""
    content = text.encode()
    with suppress(OSError):
        if path.stat().st_size == len(content) and path.read_bytes() == content:
            return
    write_bytes(path, content)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically."""
    write_text(path, json_text(value))


def update_json(path: Path, value: Any) -> None:
    """Write indented JSON with sorted keys atomically, unless the file holds it already."""
    update_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return indented JSON with sorted keys, as ``write_json`` writes it."""
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def try_link(source: Path, target: Path) -> bool:
    """Hard-link ``source`` as ``target``, whose folder must exist.

    Returns:
        Whether the link was made; False where the file system can't link these two.

    Raises:
        FileExistsError: ``target`` exists.
        OSError: Any other failure, such as a full disk.
    """
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in CAN_NOT_LINK:
            return False
        raise
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``: a hard link, or a copy where the file system can't link them.

    An existing target is replaced atomically, and a copy is on the disk before it appears under its name.

    Raises:
        OSError: Neither is possible, such as on a full disk; an existing target is left as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        linked = try_link(source, target)
    except FileExistsError:
        linked = _replace_by_link(source, target)
    if not linked:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def _replace_by_link(source: Path, target: Path) -> bool:
    temporary = temporary_sibling(target)
    if not try_link(source, temporary):
        return False
    try:
        temporary.replace(target)
    finally:
        # Where both names were links to one file already, the rename did nothing and the temporary name is still there.
        temporary.unlink(missing_ok=True)
    return True


def is_complete(folder: Path) -> bool:
    """Return whether a result folder has its manifest, which is written last."""
    return (folder / MANIFEST).is_file()


FILES_AT_ONCE = 64
"""Files per job of a thread: handing over a small one by itself would cost more than hashing it."""

SMALL_BYTES = 2**18


def describe_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of every file below ``folder``; each file is flushed to the disk while it is read.

    One with several names is not: what it is a link to was there before, and names are flushed with their folders.
    """
    names = sorted(_files_below(folder))
    parts = [names[start : start + FILES_AT_ONCE] for start in range(0, len(names), FILES_AT_ONCE)]
    with ThreadPoolExecutor(4) as pool:
        entries = pool.map(lambda part: [_flush_and_hash(f"{folder}/{name}") for name in part], parts)
        return dict(zip(names, chain.from_iterable(entries), strict=True))


def _files_below(folder: Path) -> Iterator[str]:
    """Yield the POSIX path, relative to a folder, of each file below it."""
    for place, _, names in os.walk(folder):
        inner = Path(place).relative_to(folder).as_posix()
        for name in names:
            if os.path.isfile(f"{place}/{name}"):  # noqa: PTH113 - ten thousand files are usual
                yield name if inner == "." else f"{inner}/{name}"


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush_and_hash(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:  # noqa: PTH123 - the same
        status = os.fstat(file.fileno())
        is_small = status.st_size <= SMALL_BYTES  # file_digest would reserve a buffer of this size for each
        digest = hashlib.sha256(file.read()) if is_small else hashlib.file_digest(file, "sha256")
        if status.st_nlink == 1:
            os.fsync(file.fileno())
        return {"size_bytes": file.tell(), "sha256": digest.hexdigest()}


def seal(folder: Path, head: dict[str, Any]) -> int:
    """Complete a result folder: write its manifest, after all other files, and flush everything to the disk.

    Args:
        folder: Temporary folder with all files of the result.
        head: Keys of the manifest besides ``files``.

    Returns:
        Total size in bytes of the files that the manifest lists.
    """
    files = describe_files(folder)
    write_json(folder / MANIFEST, {**head, "files": files})
    for place, _, _ in os.walk(folder, topdown=False):
        fsync_path(Path(place))
    return sum(entry["size_bytes"] for entry in files.values())


def put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a completed folder to its final name; an existing one is renamed away first and then removed."""
    former = None
    if folder.exists():
        former = temporary_sibling(folder)
        folder.rename(former)
    temporary.rename(folder)
    fsync_path(folder.parent)
    if former is not None:
        shutil.rmtree(former)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of killed builds of this result; the caller holds its write lock."""
    for leftover in folder.parent.glob(f"{TEMPORARY_PREFIX}*-{folder.name}"):
        shutil.rmtree(leftover, ignore_errors=True)


INNER_PART = r"(?:[^/\\\x00.][^/\\\x00]*|\.[^/\\\x00.][^/\\\x00]*|\.\.[^/\\\x00]+)"
"""Pattern of the name of a file or folder in another one: neither ``.`` nor ``..``."""

INNER_NAME = rf"^{INNER_PART}(?:/{INNER_PART})*$"
"""Pattern of a file's name relative to a folder: inside of it, ``/`` between its parts, and one way of writing it."""


def is_inner_name(name: str) -> bool:
    """Return whether a file of another folder may be called so, see ``INNER_NAME``."""
    is_text = not any("\ud800" <= character <= "\udfff" for character in name)  # bytes that are no UTF-8
    return is_text and re.fullmatch(INNER_NAME, name) is not None


def require_inner_names(names: Iterable[str], where: str) -> None:
    """Refuse file names that lead out of a folder; they come from listings that may have been made elsewhere.

    Args:
        names: Relative paths.
        where: The source of the names, for the message.

    Raises:
        StorageError: A name is empty, absolute, no text, or contains ``..``, an empty part, a backslash or a null byte.
    """
    for name in names:
        if not is_inner_name(name):
            raise StorageError(f"{where} lists a file {name!r}, which is not inside the folder. It is not used.")


def entries_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield relative name and status of everything below a folder that is no folder; links are not followed."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}", status
