"""Detecting changes since the last pass: spec files, user data, and the code itself.

Belongs here: comparing with the state of the last pass. Does not belong here: reading specs, deciding what to run.
"""

import hashlib
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from assay.automation.state import AutomationState, SeenFile, snapshot_source

SETTLED_NS = 1_000_000_000
"""A file saved less than this many ns ago may be incomplete; it is read in the next pass."""


def update_files(state: AutomationState, folder: Path, now_ns: int) -> set[str]:
    """Update the spec files in ``state`` and mark new and changed ones as dirty.

    A file counts as removed only when it is missing in two passes, because editors and ``git checkout`` remove files
    and write them again.

    Returns:
        IDs whose file was removed; their entries stay in ``state.files`` until the caller deletes them.
    """
    found = _spec_files(folder)
    for name, stamp in found.items():
        known = state.files.get(name)
        is_settled = not now_ns - SETTLED_NS < stamp[0] <= now_ns
        if (known is None or known.stamp != stamp) and is_settled:
            state.files[name] = SeenFile(*stamp, known.digest if known else "", known.source if known else "")
            state.dirty.add(name)
    gone = state.files.keys() - found.keys()
    removed = gone & state.missing
    state.missing = gone - removed
    state.dirty -= gone
    return removed


def update_sources(state: AutomationState, now_s: float) -> None:
    """Take the snapshots of user data that are due; mark the experiments that read changed data as dirty."""
    readers: dict[str, list[str]] = {}
    for name, seen in state.files.items():
        if seen.source:
            readers.setdefault(seen.source, []).append(name)
    state.sources = {path: snapshot for path, snapshot in state.sources.items() if path in readers}
    for path, names in readers.items():
        known = state.sources.get(path)
        if known is not None and not known.is_due(now_s):
            continue
        snapshot = snapshot_source(path)
        if snapshot is not None:
            if known is None or known.signature != snapshot.signature:
                state.dirty.update(names)
            state.sources[path] = snapshot


def file_signature(state: AutomationState, path: str) -> str:
    """Return the signature of the data at ``path``, taking a snapshot if there is none; empty while that fails."""
    if path and path not in state.sources:
        snapshot = snapshot_source(path)
        if snapshot is not None:
            state.sources[path] = snapshot
    return state.sources[path].signature if path in state.sources else ""


def _spec_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return modification time in ns and size in bytes of every spec file, by its name without the extension."""
    found: dict[str, tuple[int, int]] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".yaml") and not entry.name.startswith("."):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # removed, or replaced, since the folder was listed
                found[entry.name.removesuffix(".yaml")] = (status.st_mtime_ns, status.st_size)
    return found


def code_digest(packages: Iterable[str]) -> str:
    """Return a hash of all Python files of packages or modules, which are located but not imported."""
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
