"""Looking at the folder of spec files and at the users' data: what is new, changed, or gone since the last look.

Belongs here: comparing with what is remembered. Does not belong here: reading specs, deciding what to run.
"""

import hashlib
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from assay.automation.state import Memory, SeenFile, look_at

SETTLED_NS = 1_000_000_000
"""A file saved less than 1 s ago may be half saved; the next look takes it."""


def notice_files(memory: Memory, folder: Path, now_ns: int) -> set[str]:
    """Bring the remembered files up to date and mark what changed as dirty.

    A file that is gone counts as removed at the second look only: editors and ``git checkout`` remove and write again.

    Returns:
        IDs whose file was removed; their entries stay in ``memory.files`` until the caller forgets them.
    """
    found = _spec_files(folder)
    for name, stamp in found.items():
        known = memory.files.get(name)
        is_settled = not now_ns - SETTLED_NS < stamp[0] <= now_ns
        if (known is None or known.stamp != stamp) and is_settled:
            memory.files[name] = SeenFile(*stamp, known.digest if known else "", known.source if known else "")
            memory.dirty.add(name)
    gone = memory.files.keys() - found.keys()
    removed = gone & memory.missing
    memory.missing = gone - removed
    memory.dirty -= gone
    return removed


def notice_sources(memory: Memory, now_s: float) -> None:
    """Look at the users' data where it is time to; mark the experiments that read what changed."""
    readers: dict[str, list[str]] = {}
    for name, seen in memory.files.items():
        if seen.source:
            readers.setdefault(seen.source, []).append(name)
    memory.sources = {path: look for path, look in memory.sources.items() if path in readers}
    for path, names in readers.items():
        known = memory.sources.get(path)
        if known is not None and not known.is_due(now_s):
            continue
        look = look_at(path)
        if look is not None:
            if known is None or known.signature != look.signature:
                memory.dirty.update(names)
            memory.sources[path] = look


def signature_of(memory: Memory, path: str) -> str:
    """Return what the data at ``path`` looked like, now if never before; empty where that can't be said yet."""
    if path and path not in memory.sources:
        look = look_at(path)
        if look is not None:
            memory.sources[path] = look
    return memory.sources[path].signature if path in memory.sources else ""


def _spec_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return modification time in ns and size of every spec file, by its name without the ending."""
    found: dict[str, tuple[int, int]] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".yaml") and not entry.name.startswith("."):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # removed, or replaced, between listing and asking
                found[entry.name.removesuffix(".yaml")] = (status.st_mtime_ns, status.st_size)
    return found


def code_digest(packages: Iterable[str]) -> str:
    """Return the hash over all Python files of packages or modules, found without importing them."""
    digest = hashlib.sha256()
    for name in packages:
        for path in _files(name):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _files(name: str) -> list[Path]:
    found = find_spec(name)
    if found is None or found.origin is None:
        return []
    origin = Path(found.origin)
    return sorted(origin.parent.rglob("*.py")) if found.submodule_search_locations else [origin]
