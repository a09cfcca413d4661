"""Clearing locks and changing the backend of a lock folder.

Clearing removes the files of dead holders and, by force, takes locks away from living ones. The backend may be changed
only while no lock is held. A process that takes a lock writes its holder file and then reads the marker again; a
process that changes the backend writes an unfinished marker and then lists the holder files: one of the two always
sees the other.

Belongs here: what may be cleared or changed, and how. Does not belong here: asking the user, the content of holder
files and marker (``holders``).
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from assay.errors import StorageError, unknown
from assay.spec.yaml_text import to_yaml
from assay.storage.files import temporary_sibling, write_text
from assay.storage.locks.holders import (
    MARKER,
    UNFINISHED,
    Heartbeat,
    Holder,
    bucket_of,
    describe,
    heartbeat_of,
    holders,
)
from assay.storage.locks.lease import remove_entries


def clearable(folder: Path, names: Sequence[str] = (), force: bool = False) -> list[Holder]:
    """Return the holders that clearing would remove.

    Args:
        folder: The lock folder.
        names: Locks to make free, by name or pattern (``named/*``); if empty, only dead holders are cleared.
        force: Whether locks are also taken from holders that are, or may be, alive.

    Raises:
        StorageError: A named lock has a living holder and ``force`` is false; or no lock of that name is held.
    """
    found = holders(folder)
    if not names:
        if force:
            raise StorageError("Force is for locks that are named: say which, by name or pattern.")
        return [holder for holder in found if holder.alive is False]
    for name in names:
        if not any(sign in name for sign in "*?[") and name not in {holder.lock for holder in found}:
            raise StorageError(unknown("Held lock", name, {holder.lock for holder in found}))
    chosen = [holder for holder in found if any(fnmatchcase(holder.lock, name) for name in names)]
    living = [holder for holder in chosen if holder.alive is not False]
    if living and not force:
        shown = "\n".join(f"  - {describe(holder)}" for holder in living)
        raise StorageError(f"Nothing was cleared, because these may be at work:\n{shown}\n{_advice(living)}")
    return chosen


def _advice(living: Sequence[Holder]) -> str:
    here = sorted({holder.pid for holder in living if holder.alive and holder.silent_s is None})
    end = f"ending the process frees its lock at once (kill {' '.join(map(str, here))}), and " if here else ""
    return f"Wait for them; {end}with force the next ones no longer wait, so that both then work at the same time."


def clear(folder: Path, names: Sequence[str] = (), force: bool = False) -> list[Holder]:
    """Clear the locks of the holders that ``clearable`` returns; returns these holders.

    The lock of a dead holder is free already or, on a shared file system, is taken over by the next process that waits.
    A living holder can't be stopped from here. By force its lock is replaced: other processes take the new one at once
    while the former holder continues; on a shared file system it notices in the end, and its asset fails.
    """
    found = clearable(folder, names, force)
    bucket = bucket_of(folder)
    if bucket is not None:
        remove_entries(bucket, [holder.path for holder in found], folder)
        return found
    for lock in sorted({holder.lock for holder in found if holder.alive is not False}):
        _replace(folder / f"{lock}.lock")
    for holder in found:
        holder.path.unlink(missing_ok=True)
    return found


def _replace(path: Path) -> None:
    """Remove a lock, so that the next process makes a new one with either backend; waiting processes turn to it too."""
    path.unlink(missing_ok=True)
    log = path.with_name(f"{path.name}.rw")
    aside = temporary_sibling(log)
    with suppress(FileNotFoundError):
        log.rename(aside)  # in one step, because another process may be writing there
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def noted(note: Path) -> Iterator[None]:
    """Keep a note of this process locked for the block, by which ``clear_if_dead`` knows whether it lives."""
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_at_work(note: Path) -> bool:
    """Return whether a process of this machine keeps a note."""
    with suppress(FileNotFoundError), note.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def clear_if_dead(folder: Path, lock: str, note: Path) -> None:
    """Free a lock in a bucket whose holder was a process of this machine that is dead, which nobody need wait for."""
    bucket = bucket_of(folder)
    with suppress(FileNotFoundError, BlockingIOError), note.open("r", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        who = (socket.gethostname(), file.read())
        dead = [holder.path for holder in holders(folder, lock) if (holder.host, str(holder.pid)) == who]
        if bucket is not None and dead:
            remove_entries(bucket, dead, folder)


def share(folder: Path) -> Heartbeat:
    """Switch a lock folder to the heartbeat backend.

    Returns:
        The heartbeat: that of an existing marker, or the default.

    Raises:
        StorageError: A lock is held, or the existing marker is not valid.
    """
    if _text(folder) in (None, UNFINISHED):
        _change(folder, to_yaml(Heartbeat().model_dump(exclude={"s3"})))
    return heartbeat_of(folder) or Heartbeat()


def unshare(folder: Path) -> None:
    """Switch a lock folder to the backend of this machine's operating system.

    Raises:
        StorageError: A lock is held.
    """
    _change(folder, None)


def _text(folder: Path) -> str | None:
    marker = folder / MARKER
    return marker.read_text(encoding="utf-8") if marker.exists() else None


def _change(folder: Path, text: str | None) -> None:
    """Replace the marker's text; None removes the marker."""
    former = _text(folder)
    if former == text:
        return
    _require_free(folder)
    _write(folder, UNFINISHED)
    result = former  # until it is certain that no lock is held
    try:
        _require_free(folder)
        result = text
    finally:
        _write(folder, result)


def _write(folder: Path, text: str | None) -> None:
    if text is None:
        (folder / MARKER).unlink()
    else:
        write_text(folder / MARKER, text)


def _require_free(folder: Path) -> None:
    held = [holder for holder in holders(folder) if holder.alive is not False]
    if held:
        shown = "; ".join(describe(holder) for holder in held)
        raise StorageError(f"How locks are kept can't be changed while one is held: {shown}. Wait, then try again.")
