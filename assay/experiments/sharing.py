"""Experiments of a storage in a bucket, from machine to machine: one object per experiment says all of it.

The object is a snapshot of the experiment's records and of its folder: small files as they are, the files of results by
the result that has them, others by their hash. It is written at the end of a run, on the condition that nobody else did
meanwhile; a run holds the experiment's lock in the bucket from its beginning to its end. What a killed run left is
published by the next command on its machine, or replaced by what another machine did::

    experiments/<id>.json
    blobs/<id>/<sha256>

In a storage that is an ordinary folder, everything here does nothing.

Belongs here: what makes up an experiment, publishing and entering it. Does not belong here: results (``remote``).
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from assay.errors import AssayError, InUseError, StorageError, UnreachableError, shorten
from assay.experiments.evaluation import KEY, source_record_path
from assay.experiments.folders import (
    PLACES,
    ExperimentFolders,
    folder_name,
    read_folder_manifest,
)
from assay.spec.ids import is_id, validate_id
from assay.spec.loading import load_values
from assay.storage.bucket import ConflictError
from assay.storage.costs import COSTS, cost_path
from assay.storage.files import (
    MANIFEST,
    entries_below,
    is_inner_name,
    is_leftover,
    link_or_copy,
    sha256_of,
    temporary_sibling,
    update_text,
    write_json,
)
from assay.storage.locks.acquire import LockBackend, Waiting, hold
from assay.storage.locks.maintenance import clear_if_dead, is_at_work, noted
from assay.storage.parquet import StoredTable
from assay.storage.partitions import EXPERIMENT_COLUMN, place_of
from assay.storage.records import SeenExperiment, SharedExperiment, parse_stored, read_stored
from assay.storage.remote import STATE, Remote, at_once, remote_of
from assay.storage.results import Result, ResultStore

RECORDS = "experiments"

MOST_INLINE_BYTES = 64 * 1024
"""Files of text up to this size are part of the object."""

REFRESHED_AT_ONCE = 4


@contextmanager
def sharing(root: Path, experiment_id: str, purpose: str, waiting: Waiting | None = None) -> Iterator[None]:
    """Keep other machines from an experiment for the block; enter their work before, and publish it after.

    Raises:
        StorageError: The bucket can't be used, or another machine took this one for dead and changed the experiment.
    """
    remote = remote_of(root)
    if remote is None:
        yield
        return
    with _leased(remote, experiment_id, purpose, waiting) as turn:
        try:
            yield
        finally:
            _publish(remote, experiment_id, turn)


class _Turn(NamedTuple):
    """A machine's turn with an experiment: the lock, and the ETag of what it found in the bucket."""

    lock: LockBackend
    etag: str


@contextmanager
def _leased(
    remote: Remote, experiment_id: str, purpose: str, waiting: Waiting | None = None, timeout_s: float = -1
) -> Iterator[_Turn]:
    name, outbox = f"experiments/{validate_id(experiment_id)}", remote.state / "outbox" / experiment_id
    clear_if_dead(remote.lock_folder, name, outbox)
    with hold(remote.lock_folder, name, "write", purpose, timeout_s, waiting) as lock:
        etag = _enter_one(remote, experiment_id)
        with noted(outbox):  # should this process be killed
            yield _Turn(lock, etag)


_RUNNING: dict[tuple[Path, str], ExitStack] = {}
"""The experiments that this process runs, by storage root and ID: whoever of a run asks first begins for all."""


def begin_run(root: Path, experiment_id: str, spec_file: Path, waiting: Waiting | None = None) -> None:
    """Wait until no other machine runs an experiment, and enter what others made of it; at most once per run.

    Raises:
        StorageError: The bucket, or the cache, can't be used.
    """
    if remote_of(root) is None or (root, experiment_id) in _RUNNING:
        return
    refresh_for_run(root, experiment_id, spec_file)
    stack = ExitStack()
    stack.enter_context(sharing(root, experiment_id, f"running {experiment_id}", waiting))
    _RUNNING[root, experiment_id] = stack


def end_runs(root: Path) -> None:
    """Publish what the runs of this process made, whatever their outcome, and let other machines go on.

    Raises:
        StorageError: It can't be published; the next command on this machine tries again.
    """
    with ExitStack() as every:
        for key in [key for key in _RUNNING if key[0] == root]:
            every.push(_RUNNING.pop(key))


def refresh_for_run(root: Path, experiment_id: str, spec_file: Path) -> None:
    """Enter what a run of an experiment reads: its records, and those of all others if it evaluates one of them."""
    remote = remote_of(root)
    if remote is None:
        return
    evaluates = False
    with suppress(AssayError, OSError):  # whoever reads the spec is told
        evaluates = bool(load_values(spec_file).get(KEY))
    if evaluates:
        refresh(root)
    else:
        remote.pull()
        _enter_unless_at_work(remote, experiment_id)


def refresh(root: Path) -> None:
    """Enter what other machines did since the last time, and publish what killed runs of this one left.

    Raises:
        StorageError: The bucket, or the cache, can't be used; or, once all others were entered, one is damaged.
    """
    remote = remote_of(root)
    if remote is None:
        return
    remote.pull()
    problems: list[StorageError] = []

    def attempt(work: Callable[[str], object], experiment_id: str) -> None:
        try:
            work(experiment_id)
        except UnreachableError:
            raise
        except StorageError as error:
            problems.append(error)

    for path in sorted((remote.state / "outbox").glob("*")):
        attempt(partial(_publish_what_was_left, remote), path.name)
    listing = {name: entry.etag for name, entry in remote.bucket.list(RECORDS).items()}
    ids = {_id_of(remote, name): name for name in listing}
    changed = [each for each, name in ids.items() if _seen(remote, each)["etag"] != listing[name]]
    at_once(partial(attempt, partial(_enter_unless_at_work, remote)), changed, REFRESHED_AT_ONCE)
    if problems:
        raise problems[0]


def _publish_what_was_left(remote: Remote, experiment_id: str) -> None:
    if is_at_work(remote.state / "outbox" / experiment_id):  # whether or not it still has its lock
        return
    purpose = "publishing what a killed run left"
    with suppress(InUseError), _leased(remote, experiment_id, purpose, timeout_s=0) as turn:  # if it doesn't run
        _publish(remote, experiment_id, turn)


def _id_of(remote: Remote, name: str) -> str:
    experiment_id = name.removeprefix(f"{RECORDS}/").removesuffix(".json")
    if not is_id(experiment_id):
        raise StorageError(f"{remote.bucket.url}/{name} is no experiment's. Delete it there, and run again.")
    return experiment_id


def _seen(remote: Remote, experiment_id: str) -> dict[str, Any]:
    """Return what this machine last saw of an experiment in the bucket: a ``SeenExperiment``."""
    try:
        return read_stored(remote.state / RECORDS / f"{experiment_id}.json", SeenExperiment)
    except FileNotFoundError:
        return {"etag": "", "sha256": "", "files": [], "blobs": []}


def _note(remote: Remote, experiment_id: str, etag: str, content: Mapping[str, Any], sha256: str) -> None:
    blobs = sorted({entry["sha256"] for entry in _loose(content)})
    seen = {"etag": etag, "sha256": sha256, "files": sorted(content["files"]), "blobs": blobs}
    write_json(remote.state / RECORDS / f"{experiment_id}.json", seen)


def _loose(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of files and tables that are blobs of their own."""
    entries = [*content["files"].values(), *content["tables"].values()]
    return [entry for entry in entries if entry.get("text") is None and entry.get("result") is None]


def _publish(remote: Remote, experiment_id: str, turn: _Turn) -> None:
    """Publish an experiment that was entered, or was never in the bucket, and is locked there.

    Not if the lock was lost: whoever has it now began with what the bucket has, and would lose what it makes.
    """
    folder = ExperimentFolders(remote.root).find(experiment_id)
    outbox = remote.state / "outbox" / experiment_id
    if folder is None:
        outbox.unlink(missing_ok=True)
        return
    with remote.writing(), hold(remote.root / "locks", f"experiments/{experiment_id}", "write", "publishing it"):
        content, paths = _Snapshot(remote.root, experiment_id, folder.path).take()
        seen, text = _seen(remote, experiment_id), json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        sha256 = hashlib.sha256(text).hexdigest()
        if sha256 != seen["sha256"]:
            if seen["etag"] != turn.etag or not turn.lock.is_kept():
                raise StorageError(_taken_over(experiment_id))
            new = {entry["sha256"] for entry in _loose(content)} - set(seen["blobs"])
            at_once(lambda blob: remote.bucket.send(paths[blob], f"blobs/{experiment_id}/{blob}", blob), new)
            _note(remote, experiment_id, _replaced(remote, experiment_id, text, turn.etag), content, sha256)
        outbox.unlink(missing_ok=True)


def _replaced(remote: Remote, experiment_id: str, text: bytes, etag: str) -> str:
    try:
        return remote.bucket.replace(f"{RECORDS}/{experiment_id}.json", text, etag)
    except ConflictError as error:
        raise StorageError(_taken_over(experiment_id)) from error


def _taken_over(experiment_id: str) -> str:
    told = f"Experiment {experiment_id!r} was taken over by another machine, which took this one for dead"
    return f"{told}; what that one makes of it is kept. Run again: assay run {experiment_id}"


class _Snapshot:
    """What makes up an experiment at one moment; its folder is locked."""

    def __init__(self, root: Path, experiment_id: str, folder: Path) -> None:
        self.root, self.experiment_id, self.folder = root, experiment_id, folder
        manifest = read_folder_manifest(folder) or {"results": {}, "files": {}}
        self.fingerprints: dict[str, str] = manifest["results"]
        store, shown = ResultStore(root), [stage for stage in PLACES if stage in self.fingerprints]
        self.results: dict[str, Result] = {stage: store.open(stage, self.fingerprints[stage]) for stage in shown}
        self.paths: dict[str, Path] = {}

    def take(self) -> tuple[dict[str, Any], dict[str, Path]]:
        """Return the content of the experiment's object, and where each file is that needs a blob, by hash."""
        content = {
            "folder": self.folder.relative_to(self.root).as_posix(),
            "results": {
                stage: {"fingerprint": result.fingerprint, "manifest": sha256_of(result.folder / MANIFEST)}
                for stage, result in self.results.items()
            },
            "files": dict(self._files()),
            "tables": dict(self._tables()),
        }
        return content, self.paths

    def _files(self) -> Iterator[tuple[str, dict[str, Any]]]:
        of_results = {
            folder_name(stage, name): (result.folder / name, {"sha256": entry["sha256"], "result": [stage, name]})
            for stage, result in self.results.items()
            for name, entry in result.manifest["files"].items()
        }
        inside = self.folder.relative_to(self.root).as_posix()
        for path in self._paths_below(self.folder):
            name = path.relative_to(self.folder).as_posix()
            source, entry = of_results.get(name, (path, None))
            yield f"{inside}/{name}", entry if entry and _is_same(path, source, entry) else self._entry(path)
        own = [self.root / name / self.experiment_id for name in ("pointers", "gates")]
        single = [source_record_path(self.root, self.experiment_id)]
        single += [cost_path(self.root, stage, fingerprint) for stage, fingerprint in self.fingerprints.items()]
        single.append(self.root / "experiments_index" / f"{self.experiment_id}.json")
        for path in [*(each for place in own for each in self._paths_below(place)), *single]:
            if path.is_file():
                yield path.relative_to(self.root).as_posix(), self._entry(path)

    def _paths_below(self, folder: Path) -> Iterator[Path]:
        names = sorted(name for name, _ in entries_below(folder)) if folder.is_dir() else []
        if refused := [name for name in names if not is_inner_name(name)]:
            told = f"{folder} has a file {refused[0]!r}, a name that other machines don't take"
            raise StorageError(f"{told}. Rename or delete it, then run again: assay run {self.experiment_id}")
        paths = [folder / name for name in names if not is_leftover(name)]
        yield from (path for path in paths if path.is_file() and not path.is_symlink())

    def _entry(self, path: Path) -> dict[str, Any]:
        if path.stat().st_size <= MOST_INLINE_BYTES:
            content = path.read_bytes()
            with suppress(UnicodeDecodeError):
                return {"sha256": hashlib.sha256(content).hexdigest(), "text": content.decode()}
        sha256 = sha256_of(path)
        self.paths[sha256] = path
        return {"sha256": sha256}

    def _tables(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for folder in sorted(self.root.glob(f"tables/*/*/{EXPERIMENT_COLUMN}={self.experiment_id}")):
            schema, table = folder.parts[-3:-1]
            stored = place_of(self.root, schema, table, EXPERIMENT_COLUMN, self.experiment_id).checked()
            if stored is not None:
                sha256 = stored.sha256 or sha256_of(stored.path)
                entry: dict[str, Any] = {"fingerprint": stored.fingerprint, "sha256": sha256}
                source = self._result_with(stored.path)
                if source is None:
                    self.paths[sha256] = stored.path
                yield f"{schema}.{table}", {**entry, **({"result": source} if source else {})}

    def _result_with(self, path: Path) -> list[str] | None:
        """Return stage and name of the result's file that a path is; None if it is none of a shown stage."""
        for stage, result in self.results.items():
            if path.is_relative_to(result.folder):
                return [stage, path.relative_to(result.folder).as_posix()]
        return None


def _is_same(path: Path, source: Path, entry: Mapping[str, Any]) -> bool:
    """Return whether a file of an experiment's folder is that of a result, which may have been made anew since."""
    return (source.exists() and path.samefile(source)) or sha256_of(path) == entry["sha256"]


def _enter_unless_at_work(remote: Remote, experiment_id: str) -> None:
    """Enter an experiment, unless a run on this machine works on it: what others did meanwhile is for its end."""
    if not is_at_work(remote.state / "outbox" / experiment_id):
        _enter_one(remote, experiment_id)


def _enter_one(remote: Remote, experiment_id: str) -> str:
    """Make an experiment here what it is in the bucket, unless it is that already, or was never published.

    Returns:
        Its ETag in the bucket; empty if it is not there.
    """
    where = f"{remote.bucket.url}/{RECORDS}/{experiment_id}.json"
    with remote.writing(), hold(remote.root / "locks", f"experiments/{experiment_id}", "write", "entering it"):
        seen = _seen(remote, experiment_id)  # while it is locked, so that nobody is overtaken with something older
        found = remote.bucket.get(f"{RECORDS}/{experiment_id}.json", unless=seen["etag"])
        if found is None:
            return str(seen["etag"])
        content = parse_stored(found.content, where, SharedExperiment)
        _require_own(content, experiment_id, where)
        _Entering(remote, experiment_id, content).all(seen["files"])
        _note(remote, experiment_id, found.etag, content, hashlib.sha256(found.content).hexdigest())
        (remote.state / "outbox" / experiment_id).unlink(missing_ok=True)
        return found.etag


def _require_own(content: Mapping[str, Any], experiment_id: str, where: str) -> None:
    """Refuse the record of an experiment that would write what is not its own."""
    own = (f"{content['folder']}/", f"pointers/{experiment_id}/", f"gates/{experiment_id}/", f"{COSTS}/")
    single = {f"experiments_index/{experiment_id}.json", f"adopted/{experiment_id}.yaml"}
    for name in content["files"]:
        if not name.startswith(own) and name not in single:
            raise StorageError(f"{where} lists {shorten(name)}, which is not of this experiment. It is not used.")


class _Entering:
    """Brings an experiment of another machine here; its folder is locked."""

    def __init__(self, remote: Remote, experiment_id: str, content: Mapping[str, Any]) -> None:
        self.remote, self.experiment_id, self.content = remote, experiment_id, content
        self.root = remote.root
        self.results: dict[str, Result] = {}

    def all(self, former: list[str]) -> None:
        """Bring results first, then files, tables, and the entry of the index last; remove what is of it no more."""
        for stage in self.content["results"]:
            self._bring_result(stage)
        index = f"experiments_index/{self.experiment_id}.json"
        manifest = f"{self.content['folder']}/{MANIFEST}"
        gone = {*former, *self._of_another_folder()} - self.content["files"].keys()
        gone = {name for name in gone if not name.startswith(f"{COSTS}/")}  # of results that others may have as well
        names = [name for name in self.content["files"] if name not in (index, manifest)]
        at_once(self._bring_file, names)
        for name, entry in self.content["tables"].items():
            schema, _, table = name.partition(".")
            self._bring_table(schema, table, entry)
        for name in (manifest, index):
            if name in self.content["files"]:
                self._bring_file(name)
        for name in gone:
            (self.root / name).unlink(missing_ok=True)

    def _of_another_folder(self) -> list[str]:
        """Return the files of a folder that this machine began on its own, and never published."""
        known = ExperimentFolders(self.root).find(self.experiment_id)
        if known is None or known.path == self.root / self.content["folder"] or not known.path.is_dir():
            return []
        inside = known.path.relative_to(self.root).as_posix()
        return [f"{inside}/{name}" for name, _ in entries_below(known.path)]

    def _bring_result(self, stage: str) -> None:
        entry = self.content["results"][stage]
        fingerprint = entry["fingerprint"]
        former = ResultStore(self.root).find(stage, fingerprint)
        if former is not None and sha256_of(former.folder / MANIFEST) == entry["manifest"]:
            self.results[stage] = former  # without its lock: a training may read it for hours
            return
        folder = former.folder if former else None
        try:
            timeout_s = -1.0 if former is None else 0.0  # what is read stays; files of the new one come one by one then
            with hold(self.root / "locks", f"{stage}/{fingerprint}", "write", "fetching", timeout_s):
                folder = self.remote.fetch(stage, fingerprint, sha256=entry["manifest"])
        except InUseError:
            pass
        if folder is None:
            url = self.remote.bucket.url
            raise StorageError(
                f"{url} lacks the {stage} {fingerprint} of experiment {self.experiment_id!r}. Restore the bucket, or "
                f"make it anew on the machine that has it: assay run {self.experiment_id}"
            )
        self.results[stage] = Result(stage, fingerprint, folder)

    def _bring_file(self, name: str) -> None:
        entry, path = self.content["files"][name], self.root / name
        if entry.get("text") is not None:
            update_text(path, entry["text"])
        elif not (entry.get("result") is None and path.is_file() and sha256_of(path) == entry["sha256"]):
            with self._source(entry) as source:
                if not (path.is_file() and path.samefile(source)):
                    link_or_copy(source, path)

    @contextmanager
    def _source(self, entry: Mapping[str, Any]) -> Iterator[Path]:
        """Give the file that an entry means: a result's, as it was then, or one of the experiment's own."""
        sha256, place = entry["sha256"], f"blobs/{self.experiment_id}"
        if entry.get("result") is not None:
            stage, name = entry["result"]
            if stage not in self.results:
                raise StorageError(f"{self.remote.bucket.url}: the record of {self.experiment_id!r} lacks its {stage}.")
            result = self.results[stage]
            if result.manifest["files"].get(name, {}).get("sha256") == sha256:
                yield result.folder / name
                return
            place = f"results/{stage}/{result.fingerprint}/files"  # it was made anew since, for another experiment
        temporary = temporary_sibling(self.remote.state / "blobs" / sha256)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.remote.bucket.fetch(f"{place}/{sha256}", temporary, sha256)
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _bring_table(self, schema: str, table: str, entry: Mapping[str, Any]) -> None:
        place = place_of(self.root, schema, table, EXPERIMENT_COLUMN, self.experiment_id)
        current = place.current()
        # The bytes, too: a result that was made anew has the fingerprint of the former one.
        is_named_so = current is not None and current.fingerprint == entry["fingerprint"] and current.path.exists()
        if current is not None and is_named_so and sha256_of(current.path) == entry["sha256"]:
            return
        with self._source(entry) as path:
            place.write(StoredTable(path, entry["fingerprint"], entry["sha256"]))


def at_work(root: Path) -> list[str]:
    """Return the IDs of the experiments that a run on this machine works on now."""
    return [each for each in unpublished(root) if is_at_work(root / STATE / "outbox" / each)]


def unpublished(root: Path) -> list[str]:
    """Return the IDs of the experiments that a run on this machine works on, or left when it was killed."""
    remote = remote_of(root)
    return sorted(path.name for path in (remote.state / "outbox").glob("*")) if remote else []
