"""A folder on any file system: files below it are listed, read, written, copied and hashed by relative name.

Belongs here: the few operations that locations need, on local files and on fsspec's file systems. Does not belong here:
what the files mean, in which order a folder is copied (``sync``), credentials (``config``).
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from assay.errors import FileError, StorageError
from assay.storage.files import entries_below, fsync_path, is_leftover, temporary_sibling, write_bytes
from assay.utils.reading import kind_of, read_bytes

READ_AT_ONCE = 32
"""Number of small files read from an object store in parallel, where each request waits for milliseconds."""


@dataclass(frozen=True)
class Tree:
    """A folder on a file system.

    On a local one, no operation follows a link below the opened location, or reads anything but regular files: what
    leads out of the folder is a ``StorageError``.

    Attributes:
        fs: The fsspec file system.
        path: Path of the folder in it, without protocol and trailing slash.
        shown: Its name in messages, without secrets.
        opened: Path of the location as it was opened, which may be a link itself; empty for this very folder.
    """

    fs: Any
    path: str
    shown: str
    opened: str = field(default="", kw_only=True)

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
        return Tree(self.fs, f"{self.path}/{name}", f"{self.shown}/{name}", opened=self.opened or self.path)

    def at(self, name: str) -> str:
        """Return the path of a file below the folder, as the file system spells it."""
        return f"{self.path}/{name}"

    def _local(self, name: str, reads: bool = False) -> Path:
        """Return the path of a file in a local tree; with ``reads``, one that exists is a regular file.

        Raises:
            StorageError: A part of it below the opened location is a link, or it leads out of the folder.
        """
        path, opened = Path(self.at(name)), Path(self.opened or self.path)
        if ".." in path.parts:
            raise StorageError(f"{self.shown}: {name!r} is not inside the folder.")
        between = [path, *path.parents][: len(path.parts) - len(opened.parts)]
        for part in between:
            if part.is_symlink():
                raise StorageError(f"{part} is a link; nothing is read or written through links. Remove it.")
        if reads and path.exists() and not path.is_file():
            raise StorageError(f"{path} is {kind_of(path.stat().st_mode)}; expected a regular file.")
        return path

    def folders(self) -> list[str]:
        """Return the sorted names of its direct subfolders but hidden ones and links; none if it does not exist."""
        try:
            if self.is_local:
                with os.scandir(self._local("")) as found:
                    names = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
            else:
                entries = self.fs.ls(self.path, detail=True)
                names = [each["name"].rstrip("/").rpartition("/")[2] for each in entries if each["type"] == "directory"]
        except FileNotFoundError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def files(self) -> dict[str, int]:
        """Return the size in bytes of every file below it, by name, without leftovers of interrupted writes.

        Raises:
            StorageError: There is a link, a pipe, a socket or a device among them.
        """
        return {name: size for name, size in sorted(self._sizes()) if not is_leftover(name)}

    def leftovers(self) -> list[str]:
        """Return the names of the temporary files that interrupted writes left."""
        return [name for name, _ in self._sizes() if is_leftover(name)]

    def _sizes(self) -> Iterator[tuple[str, int]]:
        if not self.is_local:
            for name, entry in self.fs.find(self.path, detail=True).items():
                yield name[len(self.path) + 1 :], int(entry["size"])
            return
        folder = self._local("")
        for name, status in entries_below(folder) if folder.exists() else ():
            if not stat.S_ISREG(status.st_mode):
                raise StorageError(f"{self.at(name)} is {kind_of(status.st_mode)}; expected regular files. Remove it.")
            yield name, status.st_size

    def read_all(self, names: Collection[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Return the content of each of these small files that exists, and why others can't be read, by name."""
        at_once = 1 if self.is_local else READ_AT_ONCE
        found = dict(zip(names, side_by_side(self._read_or_why, names, at_once), strict=True))
        contents = {name: content for name, content in found.items() if isinstance(content, bytes)}
        return contents, {name: why for name, why in found.items() if isinstance(why, str)}

    def _read_or_why(self, name: str) -> bytes | str | None:
        try:
            return self.read(name)
        except StorageError as error:
            return str(error)

    def read(self, name: str) -> bytes | None:
        """Return the content of a small file; None if it does not exist.

        Raises:
            StorageError: It is no regular file inside the folder, or a large one.
        """
        try:
            if self.is_local:
                return read_bytes(self._local(name))
            content: bytes = self.fs.cat_file(self.at(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except FileError as error:
            raise StorageError(str(error)) from error
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write a small file atomically."""
        if self.is_local:
            write_bytes(self._local(name), content)
        else:
            self.fs.pipe_file(self.at(name), content)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file's content, read from its file system."""
        if self.is_local:
            with self._local(name, reads=True).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha256()
        with self.fs.open(self.at(name), "rb", block_size=8 * BLOCK_BYTES) as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        return self._local(name).is_file() if self.is_local else bool(self.fs.isfile(self.at(name)))

    def copy_from(self, source: "Tree", name: str, as_name: str) -> str:
        """Copy one file from another tree to ``as_name``, where it is complete and flushed to the disk, or absent.

        Returns:
            SHA-256 of the copy; between different file systems it is read back to compute it.
        """
        read_from = str(source._local(name, reads=True)) if source.is_local else source.at(name)
        written = self._local(as_name) if self.is_local else Path()
        if source.is_local and self.is_local:
            return copy_file(Path(read_from), written)
        if source.is_local:
            self.fs.put_file(read_from, self.at(as_name))
        elif self.is_local:
            download(source.fs, read_from, written)
        else:
            with source.fs.open(read_from, "rb") as read, self.fs.open(self.at(as_name), "wb") as write:
                shutil.copyfileobj(read, write, BLOCK_BYTES)
        return self.digest(as_name)

    def move(self, name: str, as_name: str) -> None:
        """Rename a file and replace an existing one; atomic on local file systems."""
        if self.is_local:
            target = self._local(as_name)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._local(name).replace(target)
            fsync_path(target.parent)
        else:
            self.fs.cp_file(self.at(name), self.at(as_name))
            self.fs.rm_file(self.at(name))

    def remove(self, names: Iterable[str]) -> None:
        """Delete files; missing ones are ignored."""
        for name in names:
            try:
                if self.is_local:
                    self._local(name).unlink()
                else:
                    self.fs.rm_file(self.at(name))
            except FileNotFoundError:
                continue

    def remove_all(self) -> None:
        """Delete the folder with everything in it."""
        if self.is_local:
            shutil.rmtree(self._local(""), ignore_errors=False)
        elif self.fs.find(self.path):
            self.fs.rm(self.path, recursive=True)

    def require_space(self, needed_bytes: int) -> None:
        """Refuse to write more than the disk of a local tree has room for.

        Raises:
            StorageError: There is less room.
        """
        if not self.is_local:
            return
        existing = next(each for each in (Path(self.path), *Path(self.path).parents) if each.exists())
        free_bytes = shutil.disk_usage(existing).free
        if needed_bytes > free_bytes:
            needs = f"{needed_bytes / 1e6:,.1f} MB have to be written, but {free_bytes / 1e6:,.1f} MB are free"
            raise StorageError(f"{self.shown}: {needs}. Nothing was copied.")


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
