"""The content hash of the user's data, so that changed data change every result made from them.

Belongs here: hashing, and remembering hashes of unchanged files. Does not belong here: judging the files.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from assay.files import canonical_json, write_json
from assay.own_data.source_files import Files, source_files
from assay.parallel import map_in_order, usable_cores
from assay.spec.generated_images import OwnData

SETTLED_NS = 2_000_000_000
"""A file changed less than 2 s ago is not remembered: it may change again within one tick of the file system's clock,
at the same size (the "racy git" problem)."""

Known = dict[str, list[int | str]]
"""Size in bytes, modification time in ns and SHA-256, by absolute path."""


def source_digest(source: OwnData, cache: Path | None = None) -> str:
    """Return the hash over sorted (relative path, size, SHA-256) of the user's files.

    Equal files don't cancel out, and names, order of reading and modification times don't matter beyond that:
    renaming a file changes the digest, touching it does not.

    Args:
        source: Where the data are; of folders of images, the files with the source's extensions count.
        cache: JSON file that remembers hashes of files by path, size and modification time; damaged or missing, it is
            made anew.

    Raises:
        DataError: The folder or file does not exist.
    """
    files = source_files(source)
    known = _read(cache) if cache else {}
    entries = _entries(files, known)
    if cache:
        _remember(cache, known, {str(files[name]): entry for name, entry in entries.items()})
    return _combined(entries)


def remembered_digest(source: OwnData, cache: Path) -> str | None:
    """Return what ``source_digest`` would, without reading a file; None when one of them is not remembered.

    Raises:
        DataError: The folder or file does not exist.
    """
    known = _read(cache)
    entries: Known = {}
    for name, path in sorted(source_files(source).items()):
        entry = _remembered(path, known)
        if entry is None:
            return None
        entries[name] = entry
    return _combined(entries)


def _combined(entries: Known) -> str:
    digest = hashlib.sha256()
    for name, (size, _, sha256) in entries.items():
        digest.update(canonical_json([os.fsencode(name).hex(), size, sha256]).encode())
    return digest.hexdigest()


def _entries(files: Files, known: Known) -> Known:
    """Return size, modification time and hash of each file by name, sorted; only new and changed files are read."""
    found = {name: _remembered(files[name], known) for name in sorted(files)}
    unread = [name for name, entry in found.items() if entry is None]
    read = dict(zip(unread, map_in_order(lambda name: _hashed(files[name]), unread, usable_cores()), strict=True))
    return {name: entry or read[name] for name, entry in found.items()}


def _remembered(path: Path, known: Known) -> list[int | str] | None:
    entry = known.get(str(path))
    if entry is None:
        return None
    status = path.stat()
    return entry if entry[:2] == [status.st_size, status.st_mtime_ns] else None


def _hashed(path: Path) -> list[int | str]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        return [status.st_size, status.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest()]


def _read(cache: Path) -> Known:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_usable = isinstance(content, dict) and all(_is_entry(entry) for entry in content.values())
    return content if is_usable else {}


def _is_entry(value: object) -> bool:
    return isinstance(value, list) and [type(part) for part in value] == [int, int, str]


def _remember(cache: Path, known: Known, found: Known) -> None:
    """Write the cache when it would change; of two writers the last wins, which costs the other a second hashing."""
    now = time.time_ns()
    settled = {path: entry for path, entry in found.items() if now - int(entry[1]) > SETTLED_NS}
    merged = {**_still_there(known), **settled}
    if merged != known:
        write_json(cache, {path: merged[path] for path in sorted(merged) if _is_text(path)})


def _still_there(known: Known) -> Known:
    return {path: known[path] for path in _existing(known)}


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if Path(path).exists()]


def _is_text(path: str) -> bool:
    """Return whether a path can be written as UTF-8."""
    return os.fsencode(path).decode(errors="replace") == path
