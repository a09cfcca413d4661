"""Changing the flavour of a lock folder, which nobody may do while a lock is held.

Belongs here: writing the marker. Does not belong here: what it means (``flavour``).
Whoever takes a lock writes a note and then looks at the marker once more; whoever changes the flavour writes an
unfinished marker and then looks for notes: one of the two always sees the other.
"""

from pathlib import Path

from assay.errors import StorageError
from assay.files import write_text
from assay.locks.flavour import MARKER, UNFINISHED, Heartbeat, heartbeat_of
from assay.locks.holders import describe, holders
from assay.spec.yaml_text import to_yaml


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
