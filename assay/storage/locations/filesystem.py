"""A folder on any file system: files below it are listed, read, written, copied and hashed by relative name.

Belongs here: the few operations that locations need, on local files and on fsspec's file systems. Does not belong here:
what the files mean, in which order a folder is copied (``sync``), credentials (``config``).
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import StorageError
from assay.storage.files import TEMPORARY_PREFIX, fsync_path, temporary_sibling, write_bytes

READ_AT_ONCE = 32
"""Number of small files read from an object store in parallel, where each request waits for milliseconds."""


@dataclass(frozen=True)
class Tree:
    """A folder on a file system.

    Attributes:
        fs: The fsspec file system.
        path: Path of the folder in it, without protocol and trailing slash.
        shown: Its name in messages, without secrets.
    """

    fs: Any
    path: str
    shown: str

    @classmethod
    def of(cls, folder: Path) -> "Tree":
        """Return the tree of a local folder."""
        from fsspec.implementations.local import LocalFileSystem

        return cls(LocalFileSystem(auto_mkdir=True), str(folder.absolute()), str(folder))

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a file system of this machine."""
        return bool(getattr(self.fs, "local_file", False))

    @property
    def as_path(self) -> Path:
        """The path of a local tree."""
        return Path(self.path)

    def is_same_folder(self, other: "Tree") -> bool:
        """Return whether two trees are the same folder, also through links."""
        if self.is_local and other.is_local:
            one, two = Path(self.path), Path(other.path)
            return one == two or (one.exists() and two.exists() and one.samefile(two))
        return (self.fs, self.path) == (other.fs, other.path)

    def below(self, name: str) -> "Tree":
        """Return the tree of a folder below this one."""
        return Tree(self.fs, f"{self.path}/{name}", f"{self.shown}/{name}")

    def at(self, name: str) -> str:
        """Return the path of a file below the folder, as the file system spells it."""
        return f"{self.path}/{name}"

    def folders(self) -> list[str]:
        """Return the sorted names of its direct subfolders, without hidden ones; none if it does not exist."""
        try:
            entries = self.fs.ls(self.path, detail=True)
        except FileNotFoundError:
            return []
        names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"]
        return sorted(name for name in names if not name.startswith("."))

    def files(self) -> dict[str, int]:
        """Return the size in bytes of every file below it, by name, without leftovers of interrupted writes."""
        entries = self.fs.find(self.path, detail=True)
        sizes = {name[len(self.path) + 1 :]: int(entry["size"]) for name, entry in entries.items()}
        return {name: size for name, size in sorted(sizes.items()) if not _is_leftover(name)}

    def leftovers(self) -> list[str]:
        """Return the names of the temporary files that interrupted writes left."""
        return [name for path in self.fs.find(self.path) if _is_leftover(name := path[len(self.path) + 1 :])]

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the content of each of these small files that exists, by name."""
        at_once = 1 if self.is_local else READ_AT_ONCE
        contents = dict(zip(names, side_by_side(self.read, names, at_once), strict=True))
        return {name: content for name, content in contents.items() if content is not None}

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None if it does not exist."""
        try:
            content: bytes = Path(self.at(name)).read_bytes() if self.is_local else self.fs.cat_file(self.at(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a small file atomically."""
        if self.is_local:
            write_bytes(Path(self.at(name)), content)
        else:
            self.fs.pipe_file(self.at(name), content)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file's content, read from its file system."""
        if self.is_local:
            with Path(self.at(name)).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        with self.fs.open(self.at(name), "rb", block_size=8 * BLOCK_BYTES) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        return bool(self.fs.isfile(self.at(name)))

    def copy_from(self, source: "Tree", name: str, as_name: str) -> str:
        """Copy one file from another tree to ``as_name``, where it is complete and flushed to the disk, or absent.

        Returns:
            SHA-256 of the copy; between different file systems it is read back to compute it.
        """
        if source.is_local and self.is_local:
            return copy_file(Path(source.at(name)), Path(self.at(as_name)))
        if source.is_local:
            self.fs.put_file(source.at(name), self.at(as_name))
        elif self.is_local:
            download(source.fs, source.at(name), Path(self.at(as_name)))
        else:
            with source.fs.open(source.at(name), "rb") as read, self.fs.open(self.at(as_name), "wb") as write:
                shutil.copyfileobj(read, write, BLOCK_BYTES)
        return self.digest(as_name)

    def move(self, name: str, as_name: str) -> None:
        """Rename a file and replace an existing one; atomic on local file systems."""
        if self.is_local:
            target = Path(self.at(as_name))
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(self.at(name)).replace(target)
            fsync_path(target.parent)
        else:
            self.fs.cp_file(self.at(name), self.at(as_name))
            self.fs.rm_file(self.at(name))

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; missing ones are ignored."""
        for name in names:
            try:
                self.fs.rm_file(self.at(name))
            except FileNotFoundError:
                continue

    def remove_all(self) -> None:
        """Delete the folder with everything in it."""
        if self.is_local:
            shutil.rmtree(self.path, ignore_errors=False)
        elif self.fs.find(self.path):
            self.fs.rm(self.path, recursive=True)


def _is_leftover(name: str) -> bool:
    return any(part.startswith(TEMPORARY_PREFIX) for part in name.split("/"))


def require_folder(tree: Tree, name: str) -> None:
    """Refuse a local location whose folder does not exist, as when an archive is not mounted.

    Raises:
        StorageError: The folder does not exist.
    """
    if tree.is_local and not Path(tree.path).is_dir():
        raise StorageError(f"Location {name!r}: {tree.shown} does not exist. Mount it, or make the folder.")


AT_ONCE = 4
"""Number of files handled in parallel: object stores answer slowly, and disks gain from two already."""

BLOCK_BYTES = 1 << 18

Done = TypeVar("Done")


def side_by_side(work: Callable[[str], Done], names: Iterable[str], at_once: int = AT_ONCE) -> Iterator[Done]:
    """Yield ``work(name)`` for every name, in order, several in parallel; the first error stops all."""
    with ThreadPoolExecutor(at_once) as pool:
        try:
            yield from pool.map(work, names)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def copy_file(source: Path, target: Path) -> str:
    """Copy a local file atomically and return its SHA-256.

    The hash is computed while copying: reading the copy back would read the page cache, not the disk.
    """
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
    """Copy a file from an fsspec file system to a local path, atomically."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(target)
    try:
        fs.get_file(path, str(temporary))
        fsync_path(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
