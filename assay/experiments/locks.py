"""The locks of a spec's ``filelock_dict``: several at once, without deadlocks.

Belongs here: their folders and the order of acquiring them. Does not belong here: locking (``assay.storage.locks``).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from assay.errors import StorageError
from assay.spec.experiment import FileLockSpec
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import Waiting, hold
from assay.storage.locks.holders import MARKER, NAMED
from assay.storage.locks.maintenance import share

LOCKS = ".locks"
"""Lock folder of a location that several machines share."""


def lock_folder_of(locations: Locations, location: str) -> Path:
    """Return the lock folder for a location: in the location itself if machines share it, else the storage's.

    Raises:
        StorageError: The folder of the location does not exist.
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
    """Return all lock folders by location, the storage's under an empty name; some may not exist."""
    known = ((name, settings.folder) for name, settings in locations.settings.items() if settings.shared)
    return {"": locations.root / "locks", **{name: folder / LOCKS for name, folder in known if folder}}


@contextmanager
def named_locks(
    locations: Locations, locks: Mapping[str, FileLockSpec], purpose: str, waiting: Waiting | None = None
) -> Iterator[None]:
    """Hold all locks of a spec for the block; if one can't be acquired in time, the others are released.

    The locks are acquired in the order of their locations, whatever their order in the spec, so that two experiments
    never wait for each other.

    Args:
        locations: The locations of the project.
        locks: The spec's ``filelock_dict``.
        purpose: What the holder does; shown to others who wait.
        waiting: Called with a description of the holders of a lock that is not free.

    Raises:
        StorageError: A lock was not free in time; the message names its key, its holders and the next step.
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
