"""Locks in a bucket: an object per lock names its holders, and each of them renews its entry while it lives.

All changes replace the object on the condition that nobody else did. A holder is taken for dead when a waiting process
has seen its entry unchanged for as long as the holder said: measured by the waiting process's own monotonic clock, and
only while it could look, so that neither a clock that is minutes wrong nor a server that was away costs a lock. Each
acquisition gets a number that is larger than all before it.

Belongs here: acquiring, renewing, listing and clearing these entries. Does not belong here: waiting and its reports
(``acquire``), requests (``assay.storage.bucket``).
"""

import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field

from assay.errors import StorageError
from assay.storage.bucket import AT_ONCE, Bucket, ConflictError
from assay.storage.records import Record, parse_stored

LOCKS = "locks"
"""Beginning of the names of all objects with locks."""

POLL_S = 0.5
"""Time between two looks of a process that waits, in seconds."""

MOST_CONFLICTS = 5

FREE_BYTES = 100
"""An object of at most this size has no holder, so that a listing need not read it."""

_Text = Annotated[str, Field(max_length=4000)]


class _Entry(Record):
    """A holder's entry; ``beat`` counts its renewals."""

    mode: Annotated[str, Field(pattern="^(read|write)$")]
    host: _Text
    pid: int
    since: _Text
    purpose: _Text
    beat: int
    stale_after_s: Annotated[float, Field(ge=0, le=86400)]


class _Lock(Record):
    fence: Annotated[int, Field(ge=0)]
    holders: dict[_Text, _Entry] = {}


class Lease:
    """A lock in a bucket, see ``LockBackend``.

    Args:
        bucket: The bucket.
        name: Name of the lock.
        heartbeat_s: Time between two renewals, in seconds.
        stale_after_s: Time without a renewal after which waiting processes take the lock over, in seconds.
        purpose: What the holder does; shown to others who wait.
    """

    longest_s = 86400.0

    def __init__(self, bucket: Bucket, name: str, heartbeat_s: float, stale_after_s: float, purpose: str) -> None:
        self._bucket, self._name = bucket, object_of(name)
        self._heartbeat_s, self._stale_after_s, self._purpose = heartbeat_s, stale_after_s, purpose
        self._token = ""
        self._seen: dict[str, tuple[int, float, float]] = {}
        self._ended = threading.Event()
        self._beats: threading.Thread | None = None
        self.fence = 0

    def acquire(self, mode: str, timeout_s: float) -> bool:
        """Wait at most ``timeout_s`` seconds for the lock; returns whether it is held now."""
        until = time.monotonic() + timeout_s
        poll_s = min(POLL_S, self._heartbeat_s)
        while not self._tried(mode):
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(poll_s * random.uniform(0.5, 1), left_s))
        self._beats = threading.Thread(target=self._keep_beating, name=f"lease of {self._name}", daemon=True)
        self._beats.start()
        return True

    def lease(self) -> dict[str, str | float]:
        """Return nothing: the object itself says who holds the lock."""
        return {}

    def is_kept(self) -> bool:
        """Return whether the lock is still held."""
        return self._token in _state(self._bucket, self._name)[0]["holders"]

    def close(self) -> None:
        """Release the lock, if it is held; if the server is away, it is free once its time is over."""
        self._ended.set()
        if self._beats is not None:
            self._beats.join()
        if self._token:
            with suppress(StorageError):
                _change(self._bucket, self._name, lambda holders: holders.pop(self._token, None) is not None)
            self._token = ""

    def _tried(self, mode: str) -> bool:
        for _ in range(MOST_CONFLICTS):
            with suppress(ConflictError):  # another holder renewed its own entry, or somebody was first
                return self._taken(mode)
        return False

    def _taken(self, mode: str) -> bool:
        state, etag = _state(self._bucket, self._name)
        living = {token: entry for token, entry in state["holders"].items() if not self._is_dead(token, entry)}
        if any(mode == "write" or entry["mode"] == "write" for entry in living.values()):
            return False
        token, fence = uuid4().hex, state["fence"] + 1
        own = {
            "mode": mode,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "purpose": self._purpose,
            "beat": 0,
            "stale_after_s": self._stale_after_s,
        }
        self._bucket.replace(self._name, _as_bytes(fence, {**living, token: own}), etag)
        self._token, self.fence = token, fence
        return True

    def _is_dead(self, token: str, entry: Mapping[str, Any]) -> bool:
        """Return whether a holder has not renewed its entry for too long, as far as this process could see."""
        now = time.monotonic()
        beat, quiet_s, looked = self._seen.get(token, (-1, 0.0, now))
        # What was missed between two looks may have been this process's own sleep, or the server's.
        quiet_s = quiet_s + min(now - looked, self._heartbeat_s) if beat == entry["beat"] else 0.0
        self._seen[token] = (entry["beat"], quiet_s, now)
        return quiet_s > max(self._stale_after_s, float(entry["stale_after_s"]))

    def _keep_beating(self) -> None:
        while not self._ended.wait(self._heartbeat_s):
            with suppress(StorageError):  # a server that is away is asked again
                if not _change(self._bucket, self._name, self._renew):
                    return  # taken over; ``is_kept`` tells

    def _renew(self, holders: dict[str, Any]) -> bool:
        if self._token not in holders:
            return False
        holders[self._token] = {**holders[self._token], "beat": holders[self._token]["beat"] + 1}
        return True


def object_of(lock: str) -> str:
    """Return the name of the object of a lock."""
    return f"{LOCKS}/{lock}.lock"


def _as_bytes(fence: int, holders: Mapping[str, Any]) -> bytes:
    state = {"fence": fence, "holders": holders} if holders else {"fence": fence}
    return json.dumps(state, sort_keys=True).encode()


def _state(bucket: Bucket, name: str) -> tuple[dict[str, Any], str]:
    """Return the content of a lock's object and its ETag, which is empty if there is no such object."""
    found = bucket.get(name)
    if found is None:
        return {"fence": 0, "holders": {}}, ""
    return _parsed(found.content, f"{bucket.url}/{name}"), found.etag


def _parsed(content: bytes, where: str) -> dict[str, Any]:
    state = parse_stored(content, where, _Lock)
    return {"fence": state["fence"], "holders": state.get("holders", {})}


def _change(bucket: Bucket, name: str, change: Callable[[dict[str, Any]], bool]) -> bool:
    """Replace the holders of a lock by what ``change`` makes of them; returns False if it leaves them alone."""
    while True:
        state, etag = _state(bucket, name)
        if not change(state["holders"]):
            return False
        try:
            bucket.replace(name, _as_bytes(state["fence"], state["holders"]), etag)
            return True
        except ConflictError:
            time.sleep(0.02 * random.random())  # another holder renewed its own entry


def entries(bucket: Bucket, lock: str | None = None) -> list[dict[str, Any]]:
    """Return the holders of one lock, or of all: the keys of their entries, ``lock``, ``token`` and ``age_s``.

    ``age_s`` is the time since the lock's object was written, in seconds, by the server's clock.
    """
    if lock is not None:
        names = [object_of(lock)]
    else:
        names = [name for name, entry in bucket.list(LOCKS).items() if entry.size_bytes > FREE_BYTES]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [entry for found in pool.map(lambda name: _entries_in(bucket, name), names) for entry in found]


def _entries_in(bucket: Bucket, name: str) -> list[dict[str, Any]]:
    found = bucket.get(name)
    if found is None:
        return []
    lock = name.removeprefix(f"{LOCKS}/").removesuffix(".lock")
    holders = _parsed(found.content, f"{bucket.url}/{name}")["holders"]
    return [{**entry, "lock": lock, "token": token, "age_s": found.age_s} for token, entry in holders.items()]


def remove_entries(bucket: Bucket, paths: Sequence[Path], folder: Path) -> None:
    """Remove holders, named as by ``entry_path``; their locks are free then."""
    for path in paths:
        name, token = object_of(path.parent.relative_to(folder).as_posix()), path.name
        _change(bucket, name, lambda holders, token=token: holders.pop(token, None) is not None)  # type: ignore[misc]


def entry_path(folder: Path, entry: Mapping[str, Any]) -> Path:
    """Return the name of a holder for ``remove_entries``; there is no such file."""
    return folder / str(entry["lock"]) / str(entry["token"])
