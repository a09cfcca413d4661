"""Packs: a folder as one ZIP file, to send it; written the same each time, and read as a stranger's file.

A pack is not compressed: tables, weights and pictures already are. What is read may be any ZIP file of one folder, such
as a download of the dashboard; it may have been made to lead out of the folder, to fill the disk or to take all memory.

Belongs here: writing and reading such files. Does not belong here: which files an experiment needs
(``assay.experiments.copying``), making it part of a storage (``assay.experiments.importing``).
"""

import hashlib
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from assay.errors import FileError, StorageError, one_line
from assay.storage.files import atomic_path, require_inner_names
from assay.utils.reading import kind_of, open_regular
from assay.utils.text import pluralize, readable_size

MARK = b"Assay pack"
"""Comment at the end of a pack, by which it is recognized."""

MOST_FILES = 100_000
"""Files of a pack; experiments of more are copied as folders."""

MOST_READ_AT_ONCE = 2**24
"""Bytes that are read at once, of which the list of all files is the longest part."""

MOST_GROWTH = 20
"""How many times the size of the file its content may have; a pack's is smaller than the file."""

CHUNK_BYTES = 2**20

OLDEST = (1980, 1, 1, 0, 0, 0)
"""The first time that ZIP knows; all files of a pack have it, so that equal content gives equal bytes."""

BEGINNINGS = (
    (b"\x1f\x8b", "is compressed by gzip"),
    (b"\xfd7zXZ", "is compressed by xz"),
    (b"BZh", "is compressed by bzip2"),
    (b"7z\xbc\xaf", "is a 7z archive"),
    (b"Rar!", "is a RAR archive"),
    (b"PAR1", "is a Parquet file"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
    (b"%PDF", "is a PDF document"),
    (b"<!doctype", "is a page"),
)

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)
"""What ``zipfile`` raises about a file that is cut off, damaged or crafted."""


def write_pack(out: Path, folder: Path, sizes: Mapping[str, int], expected: Mapping[str, str]) -> None:
    """Write a folder as a pack, atomically.

    Args:
        out: The pack; an existing file is replaced.
        folder: The folder, whose name the pack keeps.
        sizes: Size of each of its files that is packed, in bytes, by relative name.
        expected: SHA-256 of those of them that are listed somewhere, as hex digits.

    Raises:
        StorageError: There are too many files, or one of them is another one than expected. Nothing is written then.
    """
    if len(sizes) > MOST_FILES:
        raise StorageError(f"{folder} has {len(sizes):,} files; a pack has at most {MOST_FILES:,}. Use 'assay copy'.")
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.comment = MARK
        for name in sorted(sizes):
            info = zipfile.ZipInfo(f"{folder.name}/{name}", OLDEST)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            info.file_size = sizes[name]
            with open_regular(folder / name) as read, archive.open(info, "w") as write:
                digest = _copy(read, write, sizes[name], str(folder / name))
            if digest != expected.get(name, digest):
                raise StorageError(f"{folder / name} is another file than its manifest says. Nothing was packed.")


def is_pack(path: Path) -> bool:
    """Return whether a file was written by ``write_pack``.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: It can't be read.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(MARK)))
        return file.read() == MARK


def unpack(path: Path, target: Path, most_files: int = MOST_FILES) -> None:
    """Write the files of a ZIP file of one folder below a new folder; all names are looked at before anything is.

    Args:
        path: The file.
        target: Need not exist; the caller removes it, also after an error.
        most_files: A file that holds more of them is refused.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: It is no ZIP file, is damaged or cut off, or holds something else than plain files of one folder in
            reasonable size and number.
    """
    with open_regular(path) as file, _damage(path):
        _require_zip(file, path)
        size = file.seek(0, 2)
        with zipfile.ZipFile(cast(Any, _Cautious(file))) as archive:
            members = archive.infolist()
            if len(members) > most_files:
                raise FileError(path, f"holds {len(members):,} files; expected at most {most_files:,}")
            members = _checked(members, size, path)
            for info in members:
                with archive.open(info) as read, _new_file(target / info.filename) as write:
                    _copy(read, write, info.file_size, f"{path}: {info.filename}")


def _copy(read: Any, write: Any, size: int, name: str) -> str:
    """Copy exactly so many bytes, and return their SHA-256."""
    digest, left = hashlib.sha256(), size
    while content := read.read(min(CHUNK_BYTES, left + 1)):
        left -= len(content)
        if left < 0:
            break
        digest.update(content)
        with _writing(name):
            write.write(content)
    if left:
        raise StorageError(f"{name} has another size than {size:,} bytes. Nothing was written.")
    return digest.hexdigest()


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    with _writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    with file:
        yield file


@contextmanager
def _writing(name: str) -> Iterator[None]:
    """Turn errors of writing into one that says so; those of reading are told otherwise."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{name} can't be written: {error.strerror or error}. Nothing was kept.") from error


class _Cautious:
    """A file of which nothing very long is read at once, as ``zipfile`` would read a list of all members."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.close, self._read = file.seek, file.tell, file.close, file.read

    def seekable(self) -> bool:
        """Return True."""
        return True

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes.

        Raises:
            ValueError: There are more than ``MOST_READ_AT_ONCE``.
        """
        content = self._read(MOST_READ_AT_ONCE + 1 if count < 0 else min(count, MOST_READ_AT_ONCE + 1))
        if len(content) > MOST_READ_AT_ONCE:
            raise ValueError(f"its list of files has more than {readable_size(MOST_READ_AT_ONCE)}")
        return content


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what is wrong with a ZIP file into one error."""
    try:
        yield
    except _DAMAGE as error:
        reason = one_line(str(error)) or type(error).__name__
        raise FileError(path, f"is cut off or damaged ({reason}); get or pack it again") from error


def _require_zip(file: BinaryIO, path: Path) -> None:
    start = file.read(512)
    if start.startswith(b"PK"):
        return
    what = next((what for beginning, what in BEGINNINGS if start.lower().startswith(beginning.lower())), "")
    if start[257:262] == b"ustar":
        what = "is a tar archive"
    hint = "; unpack it and use: assay import ID --from FOLDER" if "archive" in what or "compressed" in what else ""
    if path.suffix.lower() in (".yaml", ".yml"):
        hint = "; a spec is used by saving it as experiments/ID.yaml"
    raise FileError(path, f"{what or 'is no ZIP file'}; expected a pack, the file that 'assay pack ID' writes{hint}")


def _checked(members: Sequence[zipfile.ZipInfo], size: int, path: Path) -> list[zipfile.ZipInfo]:
    """Return the members that are files, if all members may be unpacked.

    Args:
        members: All of them.
        size: Size of the ZIP file, in bytes.
        path: The ZIP file.
    """
    files = [info for info in members if not (info.is_dir() and info.file_size == 0)]
    names = [info.orig_filename.removesuffix("/") for info in members]
    try:
        require_inner_names(names, str(path))
    except StorageError as error:
        raise FileError(path, f"is not unpacked: {error}") from error
    for info in members:
        if problem := _problem(info):
            raise FileError(path, f"{one_line(info.filename)!r} {problem}; expected plain files only")
    _require_tree([info.filename for info in files], path)
    total, packed = sum(info.file_size for info in files), sum(info.compress_size for info in files)
    if packed > size or total > MOST_GROWTH * size:
        shown = f"{readable_size(size)} that unpack to {readable_size(total)}"
        raise FileError(path, f"has {shown}; expected at most {MOST_GROWTH} times as much")
    return files


def _problem(info: zipfile.ZipInfo) -> str:
    """Return what is wrong with a member; empty if it is a plain file or folder."""
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"is {kind_of(mode)}"
    if info.orig_filename != info.filename:
        return f"has two names, the other is {one_line(info.orig_filename)!r}"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    return ""


def _require_tree(names: Sequence[str], path: Path) -> None:
    """Refuse anything but different files in one folder."""
    known = Counter(names)
    if twice := [name for name, count in known.items() if count > 1]:
        raise FileError(path, f"holds {one_line(twice[0])!r} twice")
    inside = next((name for name in names if any(parent in known for parent in _parents(name))), None)
    if inside is not None:
        raise FileError(path, f"holds {one_line(inside)!r} and a file in place of its folder")
    folders = sorted({name.partition("/")[0] for name in names})
    if len(folders) != 1 or folders[0] in known:
        what = pluralize(len(folders), "folder or file", "folders or files") if names else "nothing"
        raise FileError(path, f"holds {what}; expected the folder of one experiment")


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
