"""A storage in a bucket, shared by machines that each work in a folder of their own, its cache.

The bucket is the truth. A result is published before it appears in the cache, so that whatever the cache holds is in
the bucket as well, and opening it asks nobody. Its files are objects named by their hash below the result's own prefix:
an interrupted upload goes on where it was. The manifest comes last, on the condition that there is none yet::

    results/<stage>/<fingerprint>/files/<sha256>
    results/<stage>/<fingerprint>/manifest.json        the result exists once this does
    records/<path>                                     a small file of the storage, replaced on condition
    locks/<name>.lock                                  see ``locks.lease``

Belongs here: which folder is the cache of which bucket; results and small files on their way between the two. Does not
belong here: what makes up an experiment (``assay.experiments.sharing``), requests (``bucket``).
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from assay.errors import StorageError, shorten
from assay.spec.base import RESERVED_FOLDERS
from assay.spec.yaml_text import to_yaml
from assay.storage.bucket import AT_ONCE, SCHEME, Bucket, ConflictError, Object
from assay.storage.files import (
    MANIFEST,
    atomic_path,
    is_complete,
    link_or_copy,
    put_in_place,
    remove_leftovers,
    require_inner_names,
    sha256_of,
    temporary_sibling,
    write_bytes,
    write_json,
    write_text,
)
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import MARKER
from assay.storage.records import MOST_MANIFEST_BYTES, Record, ResultManifest, parse_stored, read_stored

CACHE_VARIABLE = "ASSAY_CACHE"
DEFAULT_CACHE = ".assay_cache"

STATE = ".remote"
"""Folder of the cache with what this machine knows of the bucket."""

_MARKER = f"{STATE}/storage.json"
_FORMAT = "storage.json"
_FORMAT_NUMBER = 1

DEFAULT_PLACE = "data"
"""Folder of results whose manifest does not say where they were."""

SHARED_FOLDERS = frozenset({"boards", "tombstones"})
"""Folders of a storage with small files that all machines have."""

HEARTBEAT = {"heartbeat_s": 5.0, "stale_after_s": 30.0}
"""Of the locks in the bucket, unless the file in the cache's lock folder was edited."""


class _Cache(Record):
    url: str


class _Format(Record):
    format: int


@dataclass(frozen=True)
class Remote:
    """A storage in a bucket, as this machine uses it.

    Attributes:
        root: The cache: a storage folder on this machine.
        bucket: The bucket and prefix.
    """

    root: Path
    bucket: Bucket

    @property
    def lock_folder(self) -> Path:
        """The lock folder that stands for the locks in the bucket."""
        return self.root / "locks" / "s3"

    @property
    def state(self) -> Path:
        """The folder with what this machine knows of the bucket."""
        return self.root / STATE

    def publish(self, folder: Path, stage: str, fingerprint: str, place: str, replace: bool = False) -> bool:
        """Make the result in a sealed folder that of all machines.

        Args:
            folder: The folder, with its manifest.
            stage: Stage of the result.
            fingerprint: Its fingerprint.
            place: Name of the folder of the storage where it belongs.
            replace: Whether it takes the place of one that is there.

        Returns:
            Whether the result in the bucket is this one; False if another one was there, or was faster.

        Raises:
            StorageError: It can't be written.
        """
        name = f"results/{stage}/{fingerprint}"
        manifest = (folder / MANIFEST).read_bytes()
        files = {entry["sha256"]: (each, entry["size_bytes"]) for each, entry in json.loads(manifest)["files"].items()}
        there = self._sent(name)
        missing = {sha256: each for sha256, (each, size) in files.items() if (sha256, size) not in there}
        at_once(lambda sha256: self.bucket.send(folder / missing[sha256], f"{name}/files/{sha256}", sha256), missing)
        try:
            write = self.bucket.put if replace else self.bucket.create
            write(f"{name}/{MANIFEST}", manifest, {"place": place})
        except ConflictError:
            return False
        return True

    def _sent(self, name: str) -> set[tuple[str, int]]:
        """Return hash and size of all files of a result that are in the bucket."""
        return {(sent.rpartition("/")[2], each.size_bytes) for sent, each in self.bucket.list(f"{name}/files").items()}

    def holds(self, folder: Path, stage: str, fingerprint: str) -> bool:
        """Return whether the bucket has a result, whole and as it is in its folder here, so that it can come back."""
        name = f"results/{stage}/{fingerprint}"
        found = self.bucket.get(f"{name}/{MANIFEST}")
        if found is None or found.content != (folder / MANIFEST).read_bytes():
            return False
        files = self._manifest_in(found, stage, fingerprint)["files"].values()
        return {(entry["sha256"], entry["size_bytes"]) for entry in files} <= self._sent(name)

    def fetch(self, stage: str, fingerprint: str, place: str = "", sha256: str = "") -> Path | None:
        """Bring a result into the cache; the caller holds its write lock here.

        Args:
            stage: Stage of the result.
            fingerprint: Its fingerprint.
            place: Name of the folder of the storage for it; empty: where the machine that made it had it.
            sha256: Hash of its manifest; a result with another one, which was made anew since, is replaced. Empty: any.

        Returns:
            Its folder; None if the bucket has no such result.

        Raises:
            StorageError: It is damaged in the bucket, or can't be written here.
        """
        found = self.bucket.get(f"results/{stage}/{fingerprint}/{MANIFEST}")
        if found is None:
            return None
        manifest = self._manifest_in(found, stage, fingerprint)
        folder = self.root / (place or self._place_of(found, stage, fingerprint)) / stage / fingerprint
        known = (sha256, hashlib.sha256(found.content).hexdigest())
        if not is_complete(folder) or (sha256 and sha256_of(folder / MANIFEST) not in known):
            self._bring(manifest, found, folder)
        return folder

    def _manifest_in(self, found: Object, stage: str, fingerprint: str) -> dict[str, Any]:
        where = f"{self.bucket.url}/results/{stage}/{fingerprint}/{MANIFEST}"
        manifest = parse_stored(found.content, where, ResultManifest)
        if (manifest["stage"], manifest["fingerprint"]) != (stage, fingerprint):
            raise StorageError(f"{where} is that of {manifest['stage']} {manifest['fingerprint']}. Restore the bucket.")
        return manifest

    def _place_of(self, found: Object, stage: str, fingerprint: str) -> str:
        """Return the folder of the storage where the machine that made a result had it."""
        place = found.labels.get("place", DEFAULT_PLACE)
        if not _PLACE.fullmatch(place) or place.lower() in RESERVED_FOLDERS:
            where = f"{self.bucket.url}/results/{stage}/{fingerprint}/{MANIFEST}"
            raise StorageError(
                f"{where} has the label 'place' {shorten(place)}, no folder of results. Restore the bucket."
            )
        return place

    def manifest(self, stage: str, fingerprint: str) -> dict[str, Any] | None:
        """Return the manifest of a result that need not be here; None if the bucket has no such result.

        It is kept: what it says of section and lineage is named by the fingerprint.

        Raises:
            StorageError: It is damaged in the bucket, or can't be written here.
        """
        path = self.state / "manifests" / stage / f"{fingerprint}.json"
        with suppress(FileNotFoundError):
            return read_stored(path, ResultManifest, MOST_MANIFEST_BYTES)
        found = self.bucket.get(f"results/{stage}/{fingerprint}/{MANIFEST}")
        if found is None:
            return None
        manifest = self._manifest_in(found, stage, fingerprint)
        with self.writing():
            write_bytes(path, found.content)
        return manifest

    def tables(self, stage: str, fingerprint: str) -> Path | None:
        """Return a folder with the tables of a result, without its images; None if the bucket has no such result.

        Raises:
            StorageError: It is damaged in the bucket, or can't be written here.
        """
        manifest = self.manifest(stage, fingerprint)
        if manifest is None:
            return None
        folder = self.state / "tables" / stage / fingerprint
        wanted = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".parquet")}
        for name, sha256 in wanted.items():
            if not (folder / name).is_file():
                with self.writing(), atomic_path(folder / name) as temporary:
                    self.bucket.fetch(f"results/{stage}/{fingerprint}/files/{sha256}", temporary, sha256)
        return folder

    def _bring(self, manifest: dict[str, Any], found: Object, folder: Path) -> None:
        """Download the files of a result aside, and then put its folder in place."""
        prefix = f"results/{manifest['stage']}/{manifest['fingerprint']}/files"
        names: dict[str, list[str]] = {}
        for name, entry in manifest["files"].items():
            names.setdefault(entry["sha256"], []).append(name)
        sizes = {entry["sha256"]: int(entry["size_bytes"]) for entry in manifest["files"].values()}
        with self.writing(sum(sizes.values())):
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder)
            temporary = temporary_sibling(folder)
            try:
                for parent in {(temporary / name).parent for name in manifest["files"]} | {temporary}:
                    parent.mkdir(parents=True, exist_ok=True)

                def bring(sha256: str) -> None:
                    first, *others = names[sha256]
                    self.bucket.fetch(f"{prefix}/{sha256}", temporary / first, sha256)
                    for other in others:
                        link_or_copy(temporary / first, temporary / other)

                at_once(bring, names)
                write_bytes(temporary / MANIFEST, found.content)
                put_in_place(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def writing(self, needed_bytes: int = 0) -> Iterator[None]:
        """Turn errors of the cache's disk in the block into one sentence.

        Raises:
            StorageError: The disk is full, or can't be written.
        """
        remedy = f"Free space, or name a folder on another disk in {CACHE_VARIABLE}, then run again."
        free_bytes = shutil.disk_usage(self.root).free
        if needed_bytes > free_bytes:
            needs = f"{needed_bytes / 1e6:,.1f} MB are needed, but {free_bytes / 1e6:,.1f} MB are free"
            raise StorageError(f"The cache {self.root} is full: {needs}. {remedy}")
        try:
            yield
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "is full" if is_full else f"can't be written: {error.strerror or error} ({error.filename})"
            raise StorageError(f"The cache {self.root} {what}. {remedy}") from error

    def pull(self) -> None:
        """Bring the small files of the storage that other machines wrote, and remove those that they removed."""
        listing = {name.removeprefix("records/"): entry.etag for name, entry in self.bucket.list("records").items()}
        require_inner_names(listing, self.bucket.url)
        if others := [name for name in listing if name.partition("/")[0] not in SHARED_FOLDERS]:
            raise StorageError(f"{self.bucket.url}/records lists {shorten(others[0])}, which is not of a storage.")
        known = {path.relative_to(self.state / "records").as_posix() for path in (self.state / "records").rglob("*")}
        for name, etag in listing.items():
            if self._known(name) != etag or not (self.root / name).exists():
                self.pull_one(name)
        for name in known - listing.keys():
            if (self.state / "records" / name).is_file():
                self.pull_one(name)  # another process may have published it after the listing

    def pull_one(self, name: str) -> None:
        """Bring one small file of the storage as it is in the bucket now; remove it if it is not there."""
        with self._changing_records():  # of two that are read at once, the former must not be written last
            self._noted(name, self.bucket.get(f"records/{name}"))

    def push(self, name: str, content: bytes) -> None:
        """Publish a small file of the storage in place of the one that was pulled last; then it is so here as well.

        Raises:
            StorageError: Another machine wrote it meanwhile, or it can't be published; nothing is changed here then.
        """
        try:
            with self._changing_records():
                etag = self.bucket.replace(f"records/{name}", content, self._known(name))
                self._noted(name, Object(content, etag, {}, 0.0))
        except ConflictError as error:
            self.pull_one(name)
            told = f"{name} was changed by another machine just now, whose change is kept"
            raise StorageError(f"{told}. Run again.") from error

    def drop(self, name: str) -> None:
        """Remove a small file of the storage for all machines, and then here."""
        with self._changing_records():
            self.bucket.delete(f"records/{name}")
            self._noted(name, None)

    def _changing_records(self) -> AbstractContextManager[object]:
        return hold(self.root / "locks", "records", "write", "exchanging small files")

    def _known(self, name: str) -> str:
        try:
            return (self.state / "records" / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _noted(self, name: str, found: Object | None) -> None:
        with self.writing():
            if found is None:
                (self.root / name).unlink(missing_ok=True)
                (self.state / "records" / name).unlink(missing_ok=True)
            else:
                write_bytes(self.root / name, found.content)
                write_text(self.state / "records" / name, found.etag)


_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def at_once(work: Callable[[str], object], names: Iterable[str], threads: int = AT_ONCE) -> None:
    """Do some work for every name, many in parallel; the first error stops the rest."""
    with ThreadPoolExecutor(threads) as pool:
        try:
            for _ in pool.map(work, names):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_CONNECTED: dict[Path, Remote] = {}
"""The buckets that this process uses, by their cache."""


def remote_of(root: Path) -> Remote | None:
    """Return the bucket whose cache a storage folder is; None for an ordinary one."""
    return _CONNECTED.get(root)


def storage_at(place: str) -> Path:
    """Return the storage folder on this machine for the storage at ``place``.

    Args:
        place: A folder, which it is itself; or ``s3://BUCKET/PREFIX``, whose cache is ``$ASSAY_CACHE``.

    Raises:
        SpecError: It is another URL.
        StorageError: The bucket, or the cache, can't be used; or the folder is the cache of a bucket.
    """
    if "://" not in place and not place.startswith(SCHEME[:3]):
        return _ordinary(Path(place).absolute())
    return connect_bucket(place, Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE).expanduser().absolute()).root


@lru_cache(maxsize=64)
def _ordinary(folder: Path) -> Path:
    """Return a storage folder after a look, once per process, that it is no cache, where nothing would be published."""
    if (folder / _MARKER).exists():
        url = read_stored(folder / _MARKER, _Cache)["url"]
        remedy = f"Name the bucket in ASSAY_STORAGE, and this folder in {CACHE_VARIABLE}"
        raise StorageError(f"{folder} is the cache of {url}. {remedy}.")
    return folder


def connect_bucket(url: str, folder: Path) -> Remote:
    """Return the storage in a bucket with its cache, which is made at the first time; later nothing is asked.

    Raises:
        SpecError: The URL is none of a bucket.
        StorageError: The folder is something else, or the server can't be used.
    """
    bucket = Bucket.at(url)
    known = _CONNECTED.get(folder)
    if known is None or known.bucket != bucket:
        known = Remote(folder, bucket)
        _require_cache(known)
        _CONNECTED[folder] = known
    return known


def _require_cache(remote: Remote) -> None:
    folder, url = remote.root, remote.bucket.url
    elsewhere = f"Name another folder in {CACHE_VARIABLE}."
    if (folder / _MARKER).exists():
        other = read_stored(folder / _MARKER, _Cache)["url"]
        if other != url:
            raise StorageError(f"{folder} is the cache of {other}, not of {url}. {elsewhere}")
        return
    if folder.is_dir() and any(each.name not in ("locks", STATE) for each in folder.iterdir()):
        raise StorageError(f"{folder} is to be the cache of {url}, but holds something else. {elsewhere}")
    _require_format(remote.bucket)
    with _writable(folder):
        write_text(remote.lock_folder / MARKER, to_yaml({**HEARTBEAT, "s3": url}))
        write_json(folder / _MARKER, {"url": url})


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"The cache {folder} can't be made: {error.strerror or error}. Name another folder in {CACHE_VARIABLE}."
        ) from error


def _require_format(bucket: Bucket) -> None:
    """Check that a bucket can be used, and is not that of a later version; the first machine notes the version."""
    bucket.require_conditions()
    found = bucket.get(_FORMAT)
    if found is None:
        if bucket.list("experiments") or bucket.list("results"):
            raise StorageError(f"{bucket.url} lacks {_FORMAT}, but not results. Restore it, or name another prefix.")
        try:
            bucket.create(_FORMAT, json.dumps({"format": _FORMAT_NUMBER}).encode())
            return
        except ConflictError:
            found = bucket.get(_FORMAT)
    number = parse_stored(found.content, f"{bucket.url}/{_FORMAT}", _Format)["format"] if found else 0
    if number != _FORMAT_NUMBER:
        told = f"{bucket.url} has format {number}; this version of Assay knows {_FORMAT_NUMBER}"
        raise StorageError(f"{told}. Install the same version on all machines.")


def refuse_in_bucket(root: Path, what: str, instead: str) -> None:
    """Refuse what would be wrong, or wrong for other machines, in a storage that is in a bucket.

    Raises:
        StorageError: The storage folder is the cache of a bucket.
    """
    remote = remote_of(root.absolute())
    if remote is not None:
        raise StorageError(f"{what} is not supported for a storage in a bucket ({remote.bucket.url}). {instead}")
