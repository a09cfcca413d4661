"""Which of two flavours the locks of a folder are: kept by this machine, or by heartbeats on a shared file system.

Belongs here: the marker file that says so to every machine. Does not belong here: writing it (``sharing``).
"""

from functools import lru_cache
from pathlib import Path

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from assay.errors import SpecError, StorageError
from assay.ids import shorten
from assay.spec.base import Section
from assay.spec.messages import explain
from assay.spec.yaml_text import read_value

MARKER = "shared.yaml"
"""In a lock folder: its locks are kept by heartbeats."""

NAMED = "named"
"""Folder, in a storage's lock folder, of the locks on locations that users name."""

UNFINISHED = "# being changed\n"
"""Content of a marker while somebody makes sure that no lock of the other flavour is held."""


class Heartbeat(Section):
    """How a holder on a shared file system shows that it lives."""

    heartbeat_s: float = Field(default=5.0, ge=0.1, le=3600)
    """Time between two signs of life of a holder, in seconds."""
    stale_after_s: float = Field(default=20.0, le=86400)
    """How long a waiting process watches a holder without a sign of life before it takes its place, in seconds."""

    @field_validator("stale_after_s")
    @classmethod
    def _forgives_a_late_one(cls, stale_after_s: float, info: ValidationInfo) -> float:
        heartbeat_s = info.data.get("heartbeat_s", 0.0)
        if stale_after_s < 2 * heartbeat_s:
            wanted = f"at least twice heartbeat_s ({heartbeat_s:g}), or one late heartbeat would cost a lock"
            raise ValueError(f"got {stale_after_s:g}; expected {wanted}")
        return stale_after_s


def heartbeat_of(folder: Path) -> Heartbeat | None:
    """Return the heartbeat that a lock folder's marker asks for; None when its locks are of this machine alone.

    Locks on named locations are of the flavour of the folder around them, unless theirs has a marker of its own.

    Raises:
        StorageError: The marker is not valid, or the flavour is being changed at this moment.
    """
    for place in (folder, folder.parent) if folder.name == NAMED else (folder,):
        try:
            text = (place / MARKER).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        return _read(text, place / MARKER)
    return None


@lru_cache
def _read(text: str, marker: Path) -> Heartbeat:
    if text == UNFINISHED:
        next_step = "Run again in a moment; if this message stays, run 'assay locks --shared' or '--local' again"
        raise StorageError(f"{marker}: somebody is changing how locks are kept. {next_step}.")
    try:
        values = read_value(text)
    except SpecError as error:
        raise StorageError(f"{marker}: {error}.") from None
    if not isinstance(values, dict | None):
        raise StorageError(f"{marker}: got {shorten(values)}; expected keys such as 'heartbeat_s: 5', or nothing.")
    try:
        return Heartbeat.model_validate(values or {})
    except ValidationError as error:
        raise StorageError("\n".join(f"{marker}: {line}" for line in explain(error, Heartbeat))) from None
