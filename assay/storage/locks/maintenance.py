"""Clearing locks: forgetting holders that died, and, by force, taking locks from holders that did not.

Belongs here: what may be cleared, and how. Does not belong here: asking the user.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from assay.errors import StorageError, unknown
from assay.spec.yaml_text import to_yaml
from assay.storage.files import temporary_sibling, write_text
from assay.storage.locks.holders import MARKER, UNFINISHED, Heartbeat, Holder, describe, heartbeat_of, holders


def clearable(folder: Path, names: Sequence[str] = (), force: bool = False) -> list[Holder]:
    """Return the holders that clearing would remove.

    Args:
        folder: Where the locks are.
        names: Locks that shall be free afterwards, by name or pattern (``named/*``); none: only what died is cleared.
        force: Whether a lock is taken from a holder that lives, or may live.

    Raises:
        StorageError: A named lock has a living holder, and there is no force; or nobody holds a lock of that name.
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
    """Remove what ``clearable`` names; returns who was forgotten.

    A lock whose holder died is free already, or, on a shared file system, will be taken over by the next who waits. A
    living holder can't be stopped from here. By force its lock is replaced: the next ones take a new one at once, while
    the former holder works on; on a shared file system it notices, and its asset fails in the end.
    """
    found = clearable(folder, names, force)
    for lock in sorted({holder.lock for holder in found if holder.alive is not False}):
        _replace(folder / f"{lock}.lock")
    for holder in found:
        holder.path.unlink(missing_ok=True)
    return found


def _replace(path: Path) -> None:
    """Let the next ones make a lock anew, of either flavour; those who wait now turn to it by themselves."""
    path.unlink(missing_ok=True)
    log = path.with_name(f"{path.name}.rw")
    aside = temporary_sibling(log)
    with suppress(FileNotFoundError):
        log.rename(aside)  # in one step: somebody may be writing there
    shutil.rmtree(aside, ignore_errors=True)


def share(folder: Path) -> Heartbeat:
    """Keep the locks of a folder by heartbeats from now on; returns the heartbeat, which its marker may have named.

    Raises:
        StorageError: A lock is held, or there is a marker that is not valid.
    """
    if _text(folder) in (None, UNFINISHED):
        _change(folder, to_yaml(Heartbeat().model_dump()))
    return heartbeat_of(folder) or Heartbeat()


def unshare(folder: Path) -> None:
    """Let the operating system of this machine keep the locks of a folder from now on.

    Raises:
        StorageError: A lock is held.
    """
    _change(folder, None)


def _text(folder: Path) -> str | None:
    marker = folder / MARKER
    return marker.read_text(encoding="utf-8") if marker.exists() else None


def _change(folder: Path, text: str | None) -> None:
    """Replace the marker's text; None removes it."""
    former = _text(folder)
    if former == text:
        return
    _require_free(folder)
    _write(folder, UNFINISHED)
    wanted = former  # until it is certain that nobody holds anything
    try:
        _require_free(folder)
        wanted = text
    finally:
        _write(folder, wanted)


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
