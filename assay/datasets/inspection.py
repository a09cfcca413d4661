"""The user's files: where they are, which there are, and what is in each image.

Belongs here: paths, walking folders, names of subsets, decoding every image once. Does not belong here: what a folder
or a file means in one of the formats.
"""

import hashlib
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from assay.errors import DataError, FileError, nearest, shorten
from assay.images.decoding import DECODE_ERRORS, decode_with_orientation
from assay.images.near_duplicates import signature_of
from assay.spec.splits import TEST, TRAIN, VALIDATION
from assay.utils.concurrency import Progress, map_in_order, usable_cores
from assay.utils.reading import read_bytes, user_path

SUBSET_NAMES = {TRAIN: TRAIN, VALIDATION: VALIDATION, "val": VALIDATION, "valid": VALIDATION, TEST: TEST}
"""Names that people give to subsets, and ours."""


_ADDED_BY_ARCHIVERS = "__MACOSX"


def existing_path(text: str, want_folder: bool | None, key: str = "path", base: Path | None = None) -> Path:
    """Return the absolute path of the user's data.

    Args:
        text: As in the spec; ``~`` is the home folder.
        want_folder: Whether a folder is expected rather than a file; None: either.
        key: Name of the source's key, for messages.
        base: What relative paths are relative to; None: the working directory.

    Raises:
        DataError: It does not exist, with the nearest name that does; or it is a file where a folder is expected, or
            the other way round.
    """
    path = absolute_path(text, base)
    if not os.path.exists(path):  # noqa: PTH110 - false, not an error, for names that no file can have
        raise DataError(f"source.{key}: {shorten(text)} does not exist (looked for {path}). {_what_is_there(path)}")
    if want_folder is not None and path.is_dir() != want_folder:
        actual, expected = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise DataError(f"source.{key}: {text!r} is a {actual}, expected a {expected} ({path}).")
    return path


def absolute_path(text: str, base: Path | None = None) -> Path:
    """Return the absolute path that a text in the spec means, whether or not it exists."""
    path = user_path(text)
    return Path(os.path.normpath((base / path if base else path).absolute()))


MOST_COMPARED = 10_000
"""Number of names in a folder among which the nearest one is looked for."""


def _what_is_there(path: Path) -> str:
    """Return the nearest name in the lowest parent that exists."""
    missing = next(part for part in [*reversed(path.parents), path] if not os.path.exists(part))  # noqa: PTH110
    if not missing.parent.is_dir():
        return f"{missing.parent} is no folder."
    try:
        names = {entry.name.lower(): entry.name for entry in islice(missing.parent.iterdir(), MOST_COMPARED)}
    except OSError as error:
        return f"{missing.parent} can't be read: {error.strerror}."
    guess = nearest(missing.name, names)
    if guess is None:
        return f"Nothing in {missing.parent} has a similar name."
    return f"Did you mean {str(missing.parent / names[guess])!r}?"


MOST_IMAGE_BYTES = 2**30
"""Size of a file above which it is not read as an image: 89 million pixels of four 16-bit channels are smaller."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder belongs to the operating system or an archiver rather than to the data."""
    return name.startswith(".") or name == _ADDED_BY_ARCHIVERS


def walk_files(root: Path) -> Iterator[str]:
    """Yield the relative POSIX path of every file that is not hidden, sorted within each folder.

    Links to folders are followed, but no folder is entered within itself.

    Raises:
        DataError: The time of ``walking_until`` is over.
    """
    for name in _walk(root):
        _require_time(root)
        yield name


_DEADLINE = ContextVar("deadline", default=math.inf)
"""Value of ``time.monotonic`` after which no folder is walked any further."""


@contextmanager
def walking_until(deadline: float) -> Iterator[None]:
    """Limit the time that walking folders may take in the block: a path such as ``/`` or ``/proc`` may never end.

    Args:
        deadline: Value of ``time.monotonic``; an earlier limit stays.
    """
    token = _DEADLINE.set(min(deadline, _DEADLINE.get()))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _require_time(root: Path) -> None:
    if time.monotonic() > _DEADLINE.get():
        raise DataError(f"{root}: it holds so many files that listing them took too long; name the folder of the data.")


def _walk(root: Path) -> Iterator[str]:
    """Walk without recursion: folders may be inside each other more often than Python's stack has room for."""
    above, levels = [_identity(root)], [_entries(root, "")]
    while levels:
        _require_time(root)
        for relative, is_folder in levels[-1]:
            if not is_folder:
                yield relative
            elif (identity := _identity(root / relative)) not in above:
                above.append(identity)
                levels.append(_entries(root, relative))
                break
        else:
            above.pop()
            levels.pop()


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(root: Path, folder: str) -> Iterator[tuple[str, bool]]:
    """Return the relative path of everything in a folder that is not hidden, sorted, and whether it is a folder."""
    with os.scandir(root / folder) as entries:
        found = sorted((entry.name, _is_folder(entry)) for entry in entries if not is_hidden(entry.name))
    return ((f"{folder}/{name}" if folder else name, is_folder) for name, is_folder in found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def folders_in(root: Path) -> list[str]:
    """Return the names of the folders in a folder that are not hidden, sorted."""
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def subset_in_name(name: str) -> str | None:
    """Return our name of the subset that a name such as instances_val2017.json mentions, if it mentions only one."""
    found = {SUBSET_NAMES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SUBSET_NAMES}
    return found.pop() if len(found) == 1 else None


def class_not_in_train(name: str, subset: str, known: Iterable[str]) -> str:
    """Return the message for a class that is tested but can't be learned."""
    guess = nearest(name, known)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"class {name!r} is in {subset} but not in {TRAIN}, so it can't be learned.{hint}"


@dataclass(frozen=True)
class ImageInfo:
    """What is in one image file.

    Attributes:
        sha256: Hash of the file's bytes.
        width_px: Width of the upright image.
        height_px: Height of the upright image.
        pixels: Hash of its decoded pixels.
        thumbnail: See ``assay.images.near_duplicates``.
        orientation: The EXIF orientation that made it upright.
        problem: A clause that says why the file can't be used; empty when it can.
    """

    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    pixels: str = ""
    thumbnail: bytes = b""
    orientation: int = 1
    problem: str = ""


def inspect_images(root: Path, files: Sequence[str], max_pixels: int, progress: Progress) -> list[ImageInfo]:
    """Decode every image in threads and return what is in it, in the order of ``files``.

    Args:
        root: Folder that the files are relative to.
        files: Paths of the images.
        max_pixels: Largest width times height, checked before decoding.
        progress: Called after each image.
    """
    infos: list[ImageInfo] = []
    for info in map_in_order(lambda file: _inspect(root / file, max_pixels), files, usable_cores()):
        infos.append(info)
        progress(len(infos), len(files), "images checked")
    return infos


def _inspect(path: Path, max_pixels: int) -> ImageInfo:
    try:
        content = read_bytes(path, MOST_IMAGE_BYTES)
    except FileNotFoundError as error:
        return ImageInfo(problem=f"can't be read: {error.strerror}")
    except FileError as error:
        return ImageInfo(problem=error.reason)
    if not content:
        return ImageInfo(problem="is empty")
    try:
        image, orientation = decode_with_orientation(content, max_pixels)
    except DECODE_ERRORS as error:
        return ImageInfo(problem=describe_decode_error(error))
    signature = signature_of(image)
    return ImageInfo(
        hashlib.sha256(content).hexdigest(), *image.size, signature.pixels, signature.thumbnail, orientation
    )


def describe_decode_error(error: BaseException) -> str:
    """Return Pillow's reason as a clause, without the memory address that it gives in place of a file name."""
    reason = str(error)
    if "cannot identify image file" in reason:
        return "is no image that can be read, or its start is damaged"
    if "truncated" in reason or isinstance(error, EOFError):
        return f"is truncated ({reason})"
    if "decompression bomb" in reason:
        return f"is too large to decode safely ({reason})"
    return reason if reason.startswith(("has ", "is a JPEG")) else f"is damaged ({reason})"
