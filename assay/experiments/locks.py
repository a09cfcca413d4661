"""The locks that a spec names in ``filelock_dict``: several at once, without deadlock.

Belongs here: where they are, and in which order they are taken. Does not belong here: locking
(``assay.storage.locks``).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from assay.errors import StorageError
from assay.spec.experiment import FileLockSpec
from assay.storage.locations import Locations
from assay.storage.locks import NAMED, Waiting, hold, share
from assay.storage.locks.holders import MARKER

LOCKS = ".locks"
"""Folder, at a location that several machines share, of the locks on it."""


def lock_folder_of(locations: Locations, location: str) -> Path:
    """Return the folder that holds the lock on a named location: its own where machines share it, or the storage's.

    Raises:
        StorageError: The location's folder is not there.
    """
    settings = locations.settings.get(location)
    if settings is None or not settings.shared or settings.folder is None:
        return locations.root / "locks" / NAMED
    locations.open(location)
    folder = settings.folder / LOCKS
    if not (folder / MARKER).exists():
        share(folder)
    return folder


def lock_folders(locations: Locations) -> dict[str, Path]:
    """Return the folders of locks by location, the storage's own under an empty name; some may not exist."""
    known = ((name, settings.folder) for name, settings in locations.settings.items() if settings.shared)
    return {"": locations.root / "locks", **{name: folder / LOCKS for name, folder in known if folder}}


@contextmanager
def named_locks(
    locations: Locations, locks: Mapping[str, FileLockSpec], purpose: str, waiting: Waiting | None = None
) -> Iterator[None]:
    """Hold all locks of a spec for the block; when one can't be had in time, those taken before it are released.

    They are taken in the order of their locations, whatever their order in the spec: two experiments never wait for
    each other in a circle.

    Args:
        locations: The places that the project knows.
        locks: The spec's ``filelock_dict``.
        purpose: What for; others who wait are told.
        waiting: Is told who is in the way.

    Raises:
        StorageError: One was not free in time; the message names its key, its holders and the next step.
    """
    with ExitStack() as stack:
        for key, lock in sorted(locks.items(), key=lambda item: item[1].location):
            folder = lock_folder_of(locations, lock.location)
            taken = hold(folder, lock.location, lock.kind, purpose, lock.timeout_s, waiting)
            try:
                stack.enter_context(taken)
            except StorageError as error:
                raise StorageError(f"filelock_dict.{key}: {error} {_next_step(key, lock)}") from None
        yield


def _next_step(key: str, lock: FileLockSpec) -> str:
    longer = f"filelock_dict.{key}.timeout_s (now {lock.timeout_s:g})"
    return f"Run again when it is free, or raise {longer}; 'assay locks' shows and clears locks."
