"""Single files copied to this machine's disk, complete or absent, and many of them side by side.

Belongs here: bytes of one file, threads. Does not belong here: folders (``tree``), what is copied when (``updating``).
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from assay.storage.files import fsync_path, temporary_sibling

AT_ONCE = 4
"""Files handled side by side: object stores answer slowly, disks gain from two."""

BLOCK_BYTES = 1 << 18

Done = TypeVar("Done")


def side_by_side(work: Callable[[str], Done], names: Iterable[str], at_once: int = AT_ONCE) -> Iterator[Done]:
    """Yield ``work(name)`` of every name, several at once, in their order; the first error ends it."""
    with ThreadPoolExecutor(at_once) as pool:
        try:
            yield from pool.map(work, names)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def copy_file(source: Path, target: Path) -> str:
    """Copy a file, and hash on the way what is written: reading it back would come from memory all the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, digest, block = temporary_sibling(target), hashlib.sha256(), bytearray(BLOCK_BYTES)
    view = memoryview(block)
    try:
        with source.open("rb", buffering=0) as read, temporary.open("wb", buffering=0) as write:
            while count := read.readinto(block):
                digest.update(view[:count])
                write.write(view[:count])
            os.fsync(write.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def download(fs: Any, path: str, target: Path) -> None:
    """Copy a file of one of fsspec's file systems to the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        fs.get_file(path, str(temporary))
        fsync_path(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
