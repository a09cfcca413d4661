"""The results of stages: folders named by their fingerprint, built once, shared, either complete or absent.

Belongs here: building, finding and verifying results, and the part of their manifest that says what they were made
from. Does not belong here: what a stage computes (``assay.stages``), writing files durably (``assay.storage.files``).
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from assay.errors import StorageError
from assay.pipeline import STORED, StageConfig, StageSection
from assay.storage.costs import COST, Cost, Meter, cost_of, cost_path, read_cost, write_cost
from assay.storage.files import (
    MANIFEST,
    describe_files,
    is_complete,
    put_in_place,
    remove_leftovers,
    seal,
    temporary_sibling,
    write_json,
)
from assay.storage.locks.acquire import Waiting, hold
from assay.storage.records import MOST_MANIFEST_BYTES, ResultManifest, StageReport, read_stored
from assay.storage.remote import remote_of
from assay.utils.concurrency import Progress, silent
from assay.utils.text import natural_sort_key

SCRATCH = ".scratch"
"""Folder beside the results for intermediate files that an unfinished build keeps."""

REPORT = "report.json"

PICTURES = "/assay/pictures"
"""Where our web server has the pictures of results: ``/assay/pictures/<stage>/<fingerprint>/<name>``."""

REPORTS = "/assay/reports"
"""Where our web server has the reports of experiments: ``/assay/reports/<experiment>``."""

Report = dict[str, Any]
"""Statistics about a result that are shown to users: JSON values by name."""


@dataclass(frozen=True)
class Result:
    """A complete, immutable result of one stage.

    Attributes:
        stage: Stage name.
        fingerprint: Hash of everything that determines the result.
        folder: Folder with its files.
        reused: Whether it existed before it was requested; not part of its identity.
    """

    stage: str
    fingerprint: str
    folder: Path
    reused: bool = field(default=True, compare=False)

    @cached_property
    def report(self) -> Report:
        """The statistics that the stage reported.

        Raises:
            StorageError: They are gone or damaged.
        """
        return self._read(REPORT, StageReport)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Size and SHA-256 of every file, and what the result was made from.

        Raises:
            StorageError: It is gone or damaged.
        """
        return self._read(MANIFEST, ResultManifest)

    def _read(self, name: str, shape: type[BaseModel]) -> dict[str, Any]:
        try:
            return read_stored(self.folder / name, shape, MOST_MANIFEST_BYTES)
        except (FileNotFoundError, StorageError) as error:
            raise StorageError(f"{error}. Delete the folder {self.folder}: {self.stage} is then made again.") from error

    @property
    def cost(self) -> tuple[Cost | None, str]:
        """What it cost when it was built, or None and why nobody knows; no part of the result."""
        return read_cost(self.cost_file, self.stage, self.fingerprint)

    @property
    def cost_file(self) -> Path:
        """Where its cost is recorded; need not exist."""
        return cost_path(self.folder.parents[2], self.stage, self.fingerprint)

    @property
    def pictures(self) -> list[Path]:
        """The plots and sample images, PNG files sorted by name."""
        return sorted((self.folder / "pictures").glob("*.png"))

    @property
    def net_data(self) -> list[Path]:
        """PNG files of the network's training inputs, sorted by epoch."""
        return sorted((self.folder / "net_data").glob("*.png"), key=lambda path: natural_sort_key(path.name))

    @property
    def shown_pictures(self) -> dict[str, Path]:
        """The pictures to show, by name: all plots, and the first and last sheet of what a network saw."""
        seen = self.net_data
        return {
            **{f"picture/{path.stem}": path for path in self.pictures},
            **{f"net_data/{path.stem}": path for path in (*seen[:1], *seen[-1:])},
        }

    @property
    def size_bytes(self) -> int:
        """Total size of all files."""
        return sum(entry["size_bytes"] for entry in self.manifest["files"].values())


@dataclass
class Build:
    """A result being built: if it is needed, the block that receives it fills the folder and sets the report.

    Attributes:
        result: The result; complete after the block, or from the start if no build is needed.
        needed: Whether the result must be built.
        folder: Empty folder for the files of the result; only if a build is needed.
        report: Statistics to show, set by the block.
        progress: Callback for the progress of the build.
        meter: Measures what the build costs; only if it is needed.
    """

    result: Result
    needed: bool
    folder: Path = Path()
    report: Report | None = None
    progress: Progress = silent
    meter: Meter | None = None

    @property
    def scratch(self) -> Path:
        """Folder for what an interrupted build needs to resume; may not exist, and is deleted with the build's end."""
        return scratch_of(self.result.folder)

    def finished_report(self) -> Report:
        """Return the report.

        Raises:
            RuntimeError: The block set none.
        """
        if self.report is None:
            raise RuntimeError(f"The build of {self.result.stage} set no report.")
        return self.report


class ResultStore:
    """Result folders below one storage root: ``<root>/<output_location>/<stage>/<fingerprint>/``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.lock_folder = self.root / "locks"

    @contextmanager
    def build(
        self,
        spec: StageConfig[StageSection],
        inputs: Mapping[str, Result | str],
        waiting: Waiting | None = None,
        publish: Callable[[Result], object] = lambda _result: None,
    ) -> Iterator[Build]:
        """Yield the build of the result of ``spec`` on ``inputs``; the block fills its folder unless the result exists.

        If two callers request the same result at once, the second one waits and then reuses it. A result that exists is
        returned at once, however long others read it. Inputs are read-locked during the build. The result is complete
        when the block ends; a block that fails, or a process killed at any moment, leaves the previous result and at
        most a temporary folder, which the next build deletes.

        Args:
            spec: The stage's section of the spec.
            inputs: Results of other stages, or digests of external data, by name.
            waiting: Called with the process that builds or reads the result, if that has to be waited for.
            publish: Called with the complete result while it is read-locked: from the moment when the result was found,
                nobody can delete it as unused before ``publish`` has said who uses it.

        Raises:
            StorageError: The storage can't be written.
        """
        fingerprint = spec.fingerprint(fingerprints(inputs))
        folder = self.root / spec.section.output_location / spec.stage / fingerprint
        existing = Result(spec.stage, fingerprint, folder)
        if not spec.section.clear_folder and folder.exists():
            with self.reading(existing):  # waits for a process that builds or deletes it, but not for readers
                if is_complete(folder):
                    yield Build(existing, needed=False)
                    publish(existing)
                    return
        with self._writing(spec, inputs, existing, waiting) as build:
            yield build
        # Not under the write lock, with which nobody may wait for another one; what was just made is not deleted.
        with self.keeping(build.result) as result:
            publish(result)

    @contextmanager
    def _writing(
        self,
        spec: StageConfig[StageSection],
        inputs: Mapping[str, Result | str],
        existing: Result,
        waiting: Waiting | None,
    ) -> Iterator[Build]:
        """Yield the build of a result while its inputs are read-locked, and it is write-locked itself."""
        folder, lineage = existing.folder, fingerprints(inputs)
        with ExitStack() as stack:
            for value in inputs.values():
                if isinstance(value, Result):
                    stack.enter_context(self.reading(value))
            name, purpose = f"{spec.stage}/{existing.fingerprint}", f"building for {spec.experiment_id}"
            stack.enter_context(hold(self.lock_folder, name, "write", purpose, waiting=waiting))
            if is_complete(folder) and not spec.section.clear_folder:
                yield Build(existing, needed=False)
                return
            if self._fetched(stack, spec, existing, waiting):
                yield Build(existing, needed=False)
                return
            head = {**manifest_head(spec, existing.fingerprint, lineage), "ancestors": ancestors(inputs)}
            made = replace(existing, reused=False)
            publish = partial(self.share, made, is_anew=spec.section.clear_folder)
            with _measured(made, spec.experiment_id) as meter, _new_folder(folder, head, meter, publish) as temporary:
                yield (build := Build(made, needed=True, folder=temporary, meter=meter))
                write_json(temporary / REPORT, build.finished_report())

    def _fetched(self, stack: ExitStack, spec: StageConfig[StageSection], result: Result, waiting: Any) -> bool:
        """Return whether another machine has made a result, which is here then; else none makes it meanwhile."""
        remote, stage, fingerprint = remote_of(self.root), result.stage, result.fingerprint
        if remote is None:
            return False
        place, is_anew = spec.section.output_location, spec.section.clear_folder
        if not is_anew and remote.fetch(stage, fingerprint, place) is not None:
            return True
        name, purpose = f"{stage}/{fingerprint}", f"building for {spec.experiment_id}"
        stack.enter_context(hold(remote.lock_folder, name, "write", purpose, waiting=waiting))
        return not is_anew and remote.fetch(stage, fingerprint, place) is not None

    def share(self, result: Result, folder: Path, is_anew: bool = False) -> bool:
        """Publish a sealed folder as a result for other machines, before it is in its place here.

        Args:
            result: The result; its write lock is held.
            folder: The folder.
            is_anew: Whether it takes the place of a result that is there.

        Returns:
            Whether it is to be the result; False where another machine was faster, whose result is in its place then.

        Raises:
            StorageError: It can't be published.
        """
        remote = remote_of(self.root)
        place = result.folder.parent.parent.name
        if remote is None or remote.publish(folder, result.stage, result.fingerprint, place, is_anew):
            return True
        if remote.fetch(result.stage, result.fingerprint, place) is None:
            what = f"{result.stage} {result.fingerprint}"
            raise StorageError(f"{remote.bucket.url} refused {what} as one that it has, but lacks it. Run again.")
        return False

    def reading(self, result: Result) -> Any:
        """Hold a read lock on a result for the block, so that it is not deleted meanwhile."""
        return hold(self.lock_folder, f"{result.stage}/{result.fingerprint}", "read", "reading")

    @contextmanager
    def keeping(self, result: Result) -> Iterator[Result]:
        """Hold a read lock on a result for the block, which thus has it.

        Raises:
            StorageError: It has been deleted meanwhile.
        """
        with self.reading(result):
            if not is_complete(result.folder):
                raise StorageError(f"{result.folder} was deleted just now, because nobody used it. Run again.")
            yield result

    def open(self, stage: str, fingerprint: str) -> Result:
        """Return an existing result, whatever its output_location.

        Raises:
            StorageError: The result does not exist or is not complete.
        """
        result = self.find(stage, fingerprint) or self._from_bucket(stage, fingerprint)
        if result is not None:
            return result
        raise StorageError(f"{self.root} holds no complete {stage} {fingerprint}. Materialize {stage} again.")

    def _from_bucket(self, stage: str, fingerprint: str) -> Result | None:
        """Return a result that another machine made; None if none did, or this storage is in no bucket."""
        remote = remote_of(self.root)
        if remote is None or not fingerprint.isalnum():
            return None
        with hold(self.lock_folder, f"{stage}/{fingerprint}", "write", "fetching"):
            folder = remote.fetch(stage, fingerprint)
        return Result(stage, fingerprint, folder) if folder else None

    def manifest(self, stage: str, fingerprint: str) -> dict[str, Any] | None:
        """Return the manifest of an existing result; in a bucket, of one that no machine need have brought here.

        Raises:
            StorageError: It is damaged.
        """
        found, remote = self.find(stage, fingerprint), remote_of(self.root)
        if found is not None:
            return found.manifest
        return remote.manifest(stage, fingerprint) if remote is not None and fingerprint.isalnum() else None

    def tables(self, stage: str, fingerprint: str) -> Path:
        """Return a folder with at least the tables of an existing result; in a bucket, without bringing its images.

        Raises:
            StorageError: The result does not exist, or is damaged.
        """
        found, remote = self.find(stage, fingerprint), remote_of(self.root)
        if found is None and remote is not None and fingerprint.isalnum():
            folder = remote.tables(stage, fingerprint)
            if folder is not None:
                return folder
        return self.open(stage, fingerprint).folder

    def find(self, stage: str, fingerprint: str) -> Result | None:
        """Return an existing result here, whatever its output_location; None if there is no complete one."""
        if not fingerprint.isalnum():  # it may stand in a record that was written elsewhere
            return None
        for folder in sorted(self.root.glob(f"*/{stage}/{fingerprint}")):
            if is_complete(folder):
                return Result(stage, fingerprint, folder)
        return None


@contextmanager
def _measured(result: Result, experiment_id: str) -> Iterator[Meter]:
    """Measure the block, which builds a result, and record what it cost; of an interrupted one, keep what it took."""
    meter = Meter(scratch_of(result.folder) / COST)
    try:
        yield meter
    except BaseException:
        meter.keep()
        raise
    spent = meter.stop()
    shutil.rmtree(scratch_of(result.folder), ignore_errors=True)  # the meter may have made it again
    with suppress(ValueError):  # it is good to know, but the result is complete without
        record = cost_of(spent, result.stage, result.fingerprint, experiment_id, meter.size_bytes)
        write_cost(result.cost_file, record)


@contextmanager
def _new_folder(folder: Path, head: dict[str, Any], meter: Meter, publish: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty folder to a block; it becomes ``folder`` if the block succeeds and is deleted if it fails.

    ``publish`` gets it when it is complete, and returns whether it is to be ``folder``, or something else is already.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    temporary = temporary_sibling(folder)
    temporary.mkdir()
    try:
        yield temporary
        meter.size_bytes = seal(temporary, head)
        if publish(temporary):
            put_in_place(temporary, folder)
        shutil.rmtree(scratch_of(folder), ignore_errors=True)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or folder})"
        problem = f"The result of {head['stage']} can't be written: {reason}."
        raise StorageError(f"{problem} Free space or make it writable, then run again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def scratch_of(folder: Path) -> Path:
    """Return the scratch folder of a result; its hidden parent keeps it out of listings of results."""
    return folder.parent / SCRATCH / folder.name


def verify(result: Result) -> list[str]:
    """Return the differences between a result's files and its manifest; empty if there are none."""
    expected = result.manifest["files"]
    actual = describe_files(result.folder)
    actual.pop(MANIFEST, None)
    missing = [f"{name} is missing" for name in expected if name not in actual]
    extra = [f"{name} is not in the manifest" for name in actual if name not in expected]
    changed = [f"{name} has changed" for name in expected if name in actual and actual[name] != expected[name]]
    return missing + extra + changed


def fingerprints(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint or digest of each input by name."""
    return {name: value if isinstance(value, str) else value.fingerprint for name, value in inputs.items()}


def manifest_head(spec: StageConfig[StageSection], fingerprint: str, lineage: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of a manifest that says what a result was made from."""
    return {
        "stage": spec.stage,
        "fingerprint": fingerprint,
        "code_version": STORED[spec.stage].code_version,
        "inputs": dict(lineage),
        "section": spec.section.content(),
        "seed": spec.seed,
        "task": spec.task if STORED[spec.stage].reads_task else None,
    }


def ancestors(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint of every result that these inputs were made from, themselves included, by stage."""
    by_stage: dict[str, str] = {}
    for value in inputs.values():
        if isinstance(value, Result):
            by_stage |= {**value.manifest["ancestors"], value.stage: value.fingerprint}
    return by_stage
