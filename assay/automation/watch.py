"""Detecting changes since the last pass: spec files, user data, and the code itself.

Belongs here: comparing with the state of the last pass. Does not belong here: reading specs, deciding what to run.
"""

import hashlib
import math
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from assay.automation.state import AutomationState, SeenFile, SourceSnapshot, snapshot_source
from assay.datasets.inspection import walking_until
from assay.errors import DataError

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


SLOW_S = 0.5
"""A source that is being written, or whose files vanish, is looked at again at once if it takes less than this."""

UNLISTED = "unlisted"
"""Stands for the signature of data that were not listed in time."""


def update_sources(
    state: AutomationState, now_s: float, until: float = math.inf, walk_s: float = math.inf
) -> list[str]:
    """Take the snapshots of user data that are due; mark the experiments that read changed data as dirty.

    The source that waited longest comes first, so that none waits for ever for others that take all the time.

    Args:
        state: The state, which is changed.
        now_s: Now, in seconds since the epoch.
        until: Value of ``time.monotonic`` from which no other snapshot is begun.
        walk_s: Longest time for listing the files of one source, in seconds.

    Returns:
        One message per source whose files can't be listed in time.
    """
    readers: dict[str, list[str]] = {}
    for name, seen in state.files.items():
        if seen.source:
            readers.setdefault(seen.source, []).append(name)
    state.sources = {path: snapshot for path, snapshot in state.sources.items() if path in readers}
    notes = []
    due = [path for path in readers if path not in state.sources or state.sources[path].is_due(now_s)]
    for path in sorted(due, key=lambda path: state.sources[path].at if path in state.sources else 0.0):
        if time.monotonic() >= until:
            break
        known = state.sources.get(path)
        with walking_until(time.monotonic() + walk_s):
            note = _look_at(state, path)
        latest = state.sources.get(path)
        if latest is not None and (known is None or known.signature != latest.signature):
            state.dirty.update(readers[path])
        if note:
            notes.append(f"{', '.join(readers[path])}: {note}")
    return notes


def _look_at(state: AutomationState, path: str) -> str:
    """Take a snapshot of a source, unless it is being written; returns why its files can't be listed, or nothing."""
    started = time.time()
    try:
        snapshot = snapshot_source(path)
    except DataError as error:
        state.sources[path] = SourceSnapshot(UNLISTED, started, time.time() - started)
        return f"{error} Its changes are not noticed."
    if snapshot is not None:
        known = state.sources.get(path)
        is_same = known is not None and known.signature == snapshot.signature
        state.sources[path] = replace(snapshot, changes=known.changes) if known and is_same else snapshot
    elif (took_s := time.time() - started) > SLOW_S:  # try again later, as if it had come about
        signature = state.sources[path].signature if path in state.sources else ""
        state.sources[path] = SourceSnapshot(signature, started, took_s)
    return ""


def file_signature(state: AutomationState, path: str) -> str:
    """Return the signature of the data at ``path``, taking a snapshot if there is none; empty while that fails."""
    if path and path not in state.sources:
        _look_at(state, path)
    return state.sources[path].signature if path in state.sources else ""


def last_change(state: AutomationState, path: str) -> float:
    """Return when the data at ``path`` changed last, in seconds since the epoch: infinite if nobody knows."""
    if not path:
        return 0.0
    changed_at = state.sources[path].changed_at if path in state.sources else None
    return math.inf if changed_at is None else changed_at


def _spec_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return modification time in ns and size in bytes of every spec file, by its name without the extension.

    A name that is no UTF-8 has escapes; it is no valid ID, and reported as such.
    """
    found: dict[str, tuple[int, int]] = {}
    if not folder.is_dir():
        return found
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".yaml") and not entry.name.startswith("."):
                try:
                    status = _status(entry)
                except FileNotFoundError:
                    continue  # removed, or replaced, since the folder was listed
                name = os.fsencode(entry.name.removesuffix(".yaml")).decode("utf-8", "backslashreplace")
                found[name] = (status.st_mtime_ns, status.st_size)
    return found


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of a file, or of a link that leads nowhere, which is reported when it is read."""
    try:
        return entry.stat()
    except OSError:
        return entry.stat(follow_symlinks=False)


def code_digest(packages: Iterable[str]) -> str:
    """Return a hash of all Python files of packages or modules, which are located but not imported."""
    digest = hashlib.sha256()
    for name in packages:
        for path in _files(name):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def code_since(packages: Iterable[str]) -> float:
    """Return when a Python file of packages or modules changed last, in seconds since the epoch."""
    return max((path.stat().st_mtime for name in packages for path in _files(name)), default=0.0)


def _files(name: str) -> list[Path]:
    found = find_spec(name)
    if found is None or found.origin is None:
        return []
    origin = Path(found.origin)
    return sorted(origin.parent.rglob("*.py")) if found.submodule_search_locations else [origin]
