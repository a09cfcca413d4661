"""A folder on any file system: listed, read, written and hashed by names below it.

Belongs here: the few operations that locations need, on this machine's files and on fsspec's. Does not belong here:
what the files mean, credentials.
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
"""Small files that an object store is asked for side by side: each answer takes milliseconds of waiting."""


@dataclass(frozen=True)
class Tree:
    """A folder.

    Attributes:
        fs: fsspec's file system.
        path: The folder in it, without protocol and without a slash at its end.
        shown: What messages call it; holds no secrets.
    """

    fs: Any
    path: str
    shown: str

    @classmethod
    def of(cls, folder: Path) -> "Tree":
        """Return a folder of this machine's file systems."""
        from fsspec.implementations.local import LocalFileSystem

        return cls(LocalFileSystem(auto_mkdir=True), str(folder.absolute()), str(folder))

    @property
    def is_local(self) -> bool:
        """Whether it is on a file system of this machine."""
        return bool(getattr(self.fs, "local_file", False))

    @property
    def as_path(self) -> Path:
        """The folder as a path, of a local tree."""
        return Path(self.path)

    def same_place(self, other: "Tree") -> bool:
        """Return whether two trees are one folder, also by links."""
        if self.is_local and other.is_local:
            one, two = Path(self.path), Path(other.path)
            return one == two or (one.exists() and two.exists() and one.samefile(two))
        return (self.fs, self.path) == (other.fs, other.path)

    def below(self, name: str) -> "Tree":
        """Return a folder below this one."""
        return Tree(self.fs, f"{self.path}/{name}", f"{self.shown}/{name}")

    def at(self, name: str) -> str:
        """Return the file system's own path of a file below."""
        return f"{self.path}/{name}"

    def folders(self) -> list[str]:
        """Return the names of the folders right below it, sorted; none when it does not exist."""
        try:
            entries = self.fs.ls(self.path, detail=True)
        except FileNotFoundError:
            return []
        names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"]
        return sorted(name for name in names if not name.startswith("."))

    def files(self) -> dict[str, int]:
        """Return the size in bytes of every file below it, by name, without what cut-off writes left."""
        found = self.fs.find(self.path, detail=True)
        sizes = {name[len(self.path) + 1 :]: int(entry["size"]) for name, entry in found.items()}
        return {name: size for name, size in sorted(sizes.items()) if not _is_leftover(name)}

    def leftovers(self) -> list[str]:
        """Return the names of files that cut-off writes left."""
        return [name for path in self.fs.find(self.path) if _is_leftover(name := path[len(self.path) + 1 :])]

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        """Return the content of those of the small files that exist, by name; object stores read many side by side."""
        at_once = 1 if self.is_local else READ_AT_ONCE
        contents = dict(zip(names, side_by_side(self.read, names, at_once), strict=True))
        return {name: content for name, content in contents.items() if content is not None}

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None when there is none."""
        try:
            content: bytes = Path(self.at(name)).read_bytes() if self.is_local else self.fs.cat_file(self.at(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a whole small file: complete or absent."""
        if self.is_local:
            write_bytes(Path(self.at(name)), content)
        else:
            self.fs.pipe_file(self.at(name), content)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file's bytes, read from where they are."""
        if self.is_local:
            with Path(self.at(name)).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        with self.fs.open(self.at(name), "rb", block_size=8 * BLOCK_BYTES) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Return whether there is such a file."""
        return bool(self.fs.isfile(self.at(name)))

    def take(self, source: "Tree", name: str, as_name: str) -> str:
        """Copy one file from another tree: under ``as_name`` it is complete, and on the disk, or absent.

        Returns:
            SHA-256 of what was written; between systems it is read back to know it.
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
        """Rename a file below it, replacing one of that name; atomic on this machine's file systems."""
        if self.is_local:
            target = Path(self.at(as_name))
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(self.at(name)).replace(target)
            fsync_path(target.parent)
        else:
            self.fs.cp_file(self.at(name), self.at(as_name))
            self.fs.rm_file(self.at(name))

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already are no problem."""
        for name in names:
            try:
                self.fs.rm_file(self.at(name))
            except FileNotFoundError:
                continue

    def remove_all(self) -> None:
        """Delete the folder with all that is in it."""
        if self.is_local:
            shutil.rmtree(self.path, ignore_errors=False)
        elif self.fs.find(self.path):
            self.fs.rm(self.path, recursive=True)


def _is_leftover(name: str) -> bool:
    return any(part.startswith(TEMPORARY_PREFIX) for part in name.split("/"))


def require_folder(tree: Tree, name: str) -> None:
    """Refuse a location on this machine whose folder is not there: an archive that is not mounted looks like that.

    Raises:
        StorageError: It does not exist.
    """
    if tree.is_local and not Path(tree.path).is_dir():
        raise StorageError(f"Location {name!r}: {tree.shown} does not exist. Mount it, or make the folder.")


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
