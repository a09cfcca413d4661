"""The content hash of the user's data, so that changed data change every result made from them.

Belongs here: which files a source reads, hashing them, remembering the hashes of unchanged files, which folders to
watch. Does not belong here: what the files hold.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from assay.datasets.class_folders import new_reading
from assay.datasets.coco import find_coco_paths
from assay.datasets.file_names import FileFinder
from assay.datasets.inspection import absolute_path, existing_path, walk_files
from assay.datasets.mask_folder import folder_pairs, is_mask
from assay.datasets.yolo import list_images
from assay.datasets.yolo_labels import label_file
from assay.datasets.yolo_paths import find_yolo_paths
from assay.errors import DataError, FileError
from assay.spec.generated_images import (
    CocoSource,
    ImageFolderSource,
    MaskFolderSource,
    OwnData,
    TableSource,
    YoloSource,
)
from assay.storage.files import write_json
from assay.utils.concurrency import map_in_order, usable_cores
from assay.utils.reading import open_regular, read_record
from assay.utils.text import canonical_json

SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago is not remembered: it may change again within one tick of the file system's clock,
at the same size (the "racy git" problem)."""

_MOST_CACHE_BYTES = 4 * 2**30
"""Millions of files."""

FileHashes = dict[str, list[int | str]]
"""Size in bytes, modification time in ns and SHA-256, by absolute path or by name."""


Files = dict[str, Path]
"""Path of each file by a name that does not depend on where the data are."""


def source_digest(source: OwnData, cache: Path | None = None) -> str:
    """Return the hash over sorted (relative path, size, SHA-256) of the user's files.

    Renaming a file changes the digest; touching it, moving the whole folder or reading files in another order does not.
    Equal files don't cancel out. A file that can't be read stands for the reason: the stage lists all of them.

    Args:
        source: Where the data are; of folders of images, the files with the source's extensions count.
        cache: JSON file that remembers the hashes of files by path, size and modification time; a damaged or missing
            one is written anew.

    Raises:
        DataError: The folder or file does not exist.
    """
    files = source_files(source)
    known = _read(cache) if cache else {}
    entries = _entries(files, known)
    if cache:
        _remember(cache, known, {str(files[name]): entry for name, entry in entries.items()})
    return _combined(entries, _reading(source, files))


def remembered_digest(source: OwnData, cache: Path) -> str | None:
    """Return what ``source_digest`` would, without reading a file; None when one of them is not remembered.

    Raises:
        DataError: The folder or file does not exist.
    """
    known = _read(cache)
    entries: FileHashes = {}
    files = source_files(source)
    for name, path in sorted(files.items()):
        entry = _remembered(path, known)
        if entry is None:
            return None
        entries[name] = entry
    return _combined(entries, _reading(source, files))


@dataclass(frozen=True)
class FileChanges:
    """How the files of a source differ from those last read; their names, sorted, relative to the source's folder."""

    changed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


def changed_files(source: OwnData, cache: Path) -> FileChanges:
    """Return how a source's files differ from those last read, by size and time; nothing if none was ever read.

    Raises:
        DataError: The folder or file does not exist.
    """
    known = _read(cache)
    files = set(map(str, source_files(source).values()))
    if not any(path in known for path in files):
        return FileChanges()
    changed = [path for path in files if path in known and _remembered(Path(path), known) is None]
    folders = tuple(f"{folder}{os.sep}" for folder in watched_paths(source))
    gone = [path for path in known if path.startswith(folders) and path not in files and not os.path.lexists(path)]
    base = absolute_path(source.path)
    base = base if base.is_dir() else base.parent
    names = ([os.path.relpath(path, base) for path in paths] for paths in (changed, files - known.keys(), gone))
    return FileChanges(*(tuple(sorted(each)) for each in names))


def _reading(source: OwnData, files: Files) -> str:
    """Return how the files are read, where that differs from the version that made the results that exist."""
    if isinstance(source, ImageFolderSource):
        return new_reading(absolute_path(source.path), source, list(files))
    return ""


def _combined(entries: FileHashes, reading: str) -> str:
    digest = hashlib.sha256(reading.encode(errors="surrogateescape"))
    for name, (size, _, sha256) in entries.items():
        digest.update(canonical_json([os.fsencode(name).hex(), size, sha256]).encode())
    return digest.hexdigest()


def _entries(files: Files, known: FileHashes) -> FileHashes:
    """Return size, modification time and hash of each file by name, sorted; only new and changed files are read."""
    found = {name: _remembered(files[name], known) for name in sorted(files)}
    unread = [name for name, entry in found.items() if entry is None]
    read = dict(zip(unread, map_in_order(lambda name: _hashed(files[name]), unread, usable_cores()), strict=True))
    return {name: entry or read[name] for name, entry in found.items()}


def _remembered(path: Path, known: FileHashes) -> list[int | str] | None:
    entry = known.get(str(path))
    if entry is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return entry if entry[:2] == [status.st_size, status.st_mtime_ns] else None


def _hashed(path: Path) -> list[int | str]:
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            return [status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]
    except FileNotFoundError:
        return [0, _NEVER, "is gone"]
    except FileError as error:
        return [0, _NEVER, error.reason]


_NEVER = 2**63
"""Stands for the modification time of a file that can't be read, which is not remembered."""


def _read(cache: Path) -> FileHashes:
    try:
        content = read_record(cache, _MOST_CACHE_BYTES)
    except (FileNotFoundError, FileError):
        return {}
    is_usable = all(_is_entry(entry) for entry in content.values())
    return content if is_usable else {}


def _is_entry(value: object) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [int, int, str]


def _remember(cache: Path, known: FileHashes, found: FileHashes) -> None:
    """Write the cache if it changed; of two writers the last wins, so that the other's files are hashed once more."""
    now = time.time_ns()
    settled = {path: entry for path, entry in found.items() if now - int(entry[1]) > SETTLED_NS}
    merged = {**_still_there(known), **settled}
    if merged != known:
        write_json(cache, {path: merged[path] for path in sorted(merged) if _is_text(path)})


def _still_there(known: FileHashes) -> FileHashes:
    return {path: known[path] for path in _existing(known)}


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]  # noqa: PTH110 - never an error


def _is_text(path: str) -> bool:
    """Return whether a path can be written as UTF-8."""
    return os.fsencode(path).decode(errors="replace") == path


def source_files(source: OwnData) -> Files:
    """Return the files whose content determines the result.

    Raises:
        DataError: A folder or file does not exist.
    """
    if isinstance(source, TableSource):
        path = existing_path(source.path, want_folder=False)
        return {path.name: path}
    if isinstance(source, CocoSource):
        return _coco_files(source)
    if isinstance(source, YoloSource):
        return _yolo_files(source)
    root = existing_path(source.path, want_folder=True)
    if isinstance(source, MaskFolderSource):
        return _mask_files(source)
    return _walk(root, source.is_image)


def watched_paths(source: OwnData) -> tuple[Path, ...]:
    """Return the folders and files to watch for changes, whether or not they exist."""
    path = absolute_path(source.path)
    try:
        paths = {path, *_paths(source)}
    except DataError:
        return (path,)  # the stage reports it where the user looks for it
    return tuple(sorted(each for each in paths if not any(parent in paths for parent in each.parents)))


def _paths(source: OwnData) -> list[Path]:
    if isinstance(source, CocoSource):
        coco = find_coco_paths(source)
        return [coco.images, *(file for _, file in coco.files)]
    if isinstance(source, YoloSource):
        yolo = find_yolo_paths(source)
        folders = [path for _, path in yolo.images]
        finder = FileFinder()
        return [
            yolo.config,
            *yolo.more_files,
            *folders,
            *(label_file(folder / "any", finder).parent for folder in folders),
        ]
    if isinstance(source, MaskFolderSource):
        return [folder for pair in folder_pairs(source) for folder in (pair.images, pair.masks)]
    return []


def _walk(root: Path, is_read: Callable[[str], bool], prefix: str = "") -> Files:
    return {prefix + name: root / name for name in sorted(walk_files(root)) if is_read(name)}


def _coco_files(source: CocoSource) -> Files:
    paths = find_coco_paths(source)
    annotations = {f"{subset}:{os.path.relpath(file, paths.base)}": file for subset, file in paths.files}
    return annotations | _walk(paths.images, source.is_image, "images:")


def _mask_files(source: MaskFolderSource) -> Files:
    files: Files = {}
    for pair in folder_pairs(source):
        files |= _walk(pair.images, source.is_image, f"images:{pair.subset}:")
        files |= _walk(pair.masks, is_mask, f"masks:{pair.subset}:")
    return files


def _yolo_files(source: YoloSource) -> Files:
    paths, finder = find_yolo_paths(source), FileFinder()
    lists = [path for _, path in paths.images if path.is_file()]
    images = [image for _, path in paths.images for image in list_images(path, source, finder)]
    files = [*lists, *images, *(label_file(image, finder) for image in images)]
    used = [paths.config, *paths.more_files, *(file for file in files if os.path.lexists(file))]
    named = {os.path.relpath(file, paths.base): file for file in used}
    # Key points were once read as polygons: such data must not have the hash of results that were made from these.
    return named | ({f"key points:{paths.config.name}": paths.config} if paths.key_points else {})
