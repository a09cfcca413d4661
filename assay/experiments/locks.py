"""The locks of a spec's ``filelock_dict``: several at once, without deadlocks, for an asset or longer.

Belongs here: their folders, the order of acquiring them, how long they are held. Does not belong here: locking
(``assay.storage.locks``).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from assay.errors import AssayError, InUseError, StorageError
from assay.spec.experiment import LockSection
from assay.spec.extensions import added_function
from assay.spec.plugins import LOCKS
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import LockMode, Waiting, hold
from assay.storage.locks.holders import MARKER, NAMED, holder_file
from assay.storage.locks.maintenance import share
from assay.storage.remote import remote_of

IN_BUCKET = "s3"
"""Name under which the locks in the storage's bucket are listed and cleared."""

LOCK_FOLDER = ".locks"
"""Lock folder of a location that several machines share."""


def lock_folder_of(locations: Locations, location: str) -> Path:
    """Return the lock folder for a location: in the location itself if machines share it, else the storage's.

    Raises:
        StorageError: The folder of the location does not exist.
    """
    settings = locations.settings.get(location)
    if settings is None or not settings.shared or settings.folder is None:
        remote = remote_of(locations.root)
        return (locations.root / "locks" if remote is None else remote.lock_folder) / NAMED
    locations.open(location)
    folder = settings.folder / LOCK_FOLDER
    if not (folder / MARKER).exists():
        share(folder)
    return folder


def lock_folders(locations: Locations) -> dict[str, Path]:
    """Return all lock folders by location; some may not exist.

    The storage's own has an empty name; that which stands for its bucket is ``IN_BUCKET``.
    """
    remote = remote_of(locations.root)
    in_bucket = {} if remote is None else {IN_BUCKET: remote.lock_folder}
    known = ((name, settings.folder) for name, settings in locations.settings.items() if settings.shared)
    others = {name: folder / LOCK_FOLDER for name, folder in known if folder}
    return {"": locations.root / "locks", **in_bucket, **others}


@contextmanager
def named_locks(
    locations: Locations, locks: Mapping[str, LockSection], purpose: str, waiting: Waiting | None = None
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
            try:
                stack.enter_context(_one(locations, lock, purpose, waiting))
            except StorageError as error:
                raise StorageError(f"filelock_dict.{key}: {error} {_next_step(key, lock)}") from None
            except AssayError as error:
                raise StorageError(f"filelock_dict.{key}: {error}") from error
        yield


def _one(
    locations: Locations, lock: LockSection, purpose: str, waiting: Waiting | None
) -> AbstractContextManager[object]:
    """Return one lock, not acquired yet.

    Raises:
        AssayError: The package that adds its kind can't be used.
    """
    added = added_function(LOCKS, lock)
    if added is not None:
        return _added_lock(added, locations.root / "locks" / f"{lock.kind}/{lock.location}.lock", lock, purpose)
    mode: LockMode = "write" if lock.kind == "write" else "read"
    folder = lock_folder_of(locations, lock.location)
    return hold(folder, lock.location, mode, purpose, lock.timeout_s, waiting)


@contextmanager
def _added_lock(
    added: Callable[[str], AbstractContextManager[object]], path: Path, lock: LockSection, purpose: str
) -> Iterator[None]:
    """Hold a lock of an installed package for the block, and list this process among the holders of locks meanwhile."""
    held = added(purpose)
    if not isinstance(held, AbstractContextManager):
        raise AssayError(f"The lock {lock.kind!r} returned a {type(held).__name__}; expected a context manager.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(held)
        except TimeoutError as error:
            raise InUseError(f"The lock {lock.kind!r} on {lock.location} was not free in time: {error}.") from error
        except (AssayError, OSError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise AssayError(f"The lock {lock.kind!r} on {lock.location} can't be acquired: {reason}") from error
        stack.enter_context(holder_file(path, lock.kind, purpose, {}))
        yield


HELD_STAGES = ("trained_model", "predictions", "analysis")
"""Stages between which a lock with ``hold: training_to_analysis`` is not released."""


def locks_of_run(locks: Mapping[str, LockSection]) -> dict[str, LockSection]:
    """Return the locks that a run holds from training to analysis.

    These are the locks that ask for it, and those whose location comes before one of them: all locks are acquired in
    the order of their locations, and one of an asset is acquired while those of its run are held.
    """
    last = max((lock.location for lock in locks.values() if lock.hold == "training_to_analysis"), default="")
    return {key: lock for key, lock in locks.items() if lock.location <= last}


class RunLocks:
    """Locks that a run holds from its first stage of ``HELD_STAGES`` to its last, or to its end."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._keys: dict[str, frozenset[str]] = {}

    @contextmanager
    def during(
        self,
        locations: Locations,
        stage: str,
        experiment_id: str,
        locks: Mapping[str, LockSection],
        waiting: Waiting | None = None,
    ) -> Iterator[dict[str, LockSection]]:
        """Make sure that the locks of the run are held while it works on a stage; yield those that the stage acquires.

        Args:
            locations: The locations of the project.
            stage: The stage.
            experiment_id: Its experiment.
            locks: The spec's ``filelock_dict``.
            waiting: Called with a description of the holders of a lock that is not free.

        Raises:
            StorageError: A lock was not free in time.
        """
        if stage not in HELD_STAGES:
            yield dict(locks)
            return
        wanted = locks_of_run(locks)
        if wanted and experiment_id not in self._keys:
            purpose = f"training to analysis of {experiment_id}"
            self._held.enter_context(named_locks(locations, wanted, purpose, waiting))
            self._keys[experiment_id] = frozenset(wanted)
        held = self._keys.get(experiment_id, frozenset())
        yield {key: lock for key, lock in locks.items() if key not in held}
        if stage == HELD_STAGES[-1]:
            self.release()

    def release(self) -> None:
        """Release all locks; also at the end of a run that failed, or that made no analysis.

        Raises:
            StorageError: A lock was lost while it was held.
        """
        self._keys.clear()
        self._held.close()


def _next_step(key: str, lock: LockSection) -> str:
    longer = f"filelock_dict.{key}.timeout_s (now {lock.timeout_s:g})"
    return f"Run again when it is free, or raise {longer}; 'assay locks' shows and clears locks."
