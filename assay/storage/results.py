"""Results of stages: folders named by what they were made from, built once, shared, complete or absent.

Belongs here: building, finding and verifying results, and the head of their manifest. Does not belong here: what a
stage computes, how files are made durable (``files``).
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.pipeline import STAGES, StageConfig, StageSection
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
from assay.storage.locks import Waiting, hold
from assay.utils.concurrency import Progress, silent
from assay.utils.text import natural_sort_key

SCRATCH = ".scratch"
"""Folder beside results for what unfinished builds keep."""

REPORT = "report.json"

Report = dict[str, Any]
"""The statistics of a result that are shown: plain values, by name."""


@dataclass(frozen=True)
class Result:
    """A complete, immutable result of one stage.

    Attributes:
        stage: Stage name.
        fingerprint: Hash of everything that went into it.
        folder: Where its files are.
        reused: Whether it existed before it was asked for; says nothing about what it is.
    """

    stage: str
    fingerprint: str
    folder: Path
    reused: bool = field(default=True, compare=False)

    @cached_property
    def report(self) -> Report:
        """The statistics that the stage reported."""
        report: Report = json.loads((self.folder / REPORT).read_bytes())
        return report

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Size and SHA-256 of every file, and what the result was made from."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
        return manifest

    @property
    def pictures(self) -> list[Path]:
        """The PNG files made for looking at, sorted by name."""
        return sorted((self.folder / "pictures").glob("*.png"))

    @property
    def net_data(self) -> list[Path]:
        """The PNG files of what a network saw, epoch by epoch."""
        return sorted((self.folder / "net_data").glob("*.png"), key=lambda path: natural_sort_key(path.name))

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(entry["size_bytes"] for entry in self.manifest["files"].values())


@dataclass
class Build:
    """A result on its way: the block that was given it fills the folder and sets the report, if it is needed.

    Attributes:
        result: The result; complete when it is not needed, and after the block.
        needed: Whether there is something to do.
        folder: Empty folder for the files of the result; of no use when nothing is needed.
        report: Statistics to show.
        progress: Called with how far the work is.
    """

    result: Result
    needed: bool
    folder: Path = Path()
    report: Report | None = None
    progress: Progress = silent

    @property
    def scratch(self) -> Path:
        """Folder for what a killed build needs to go on; need not exist, and is gone when the result is complete."""
        return scratch_of(self.result.folder)

    def finished_report(self) -> Report:
        """Return the report.

        Raises:
            RuntimeError: There is none: the block forgot it.
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
        self, spec: StageConfig[StageSection], inputs: Mapping[str, Result | str], waiting: Waiting | None = None
    ) -> Iterator[Build]:
        """Give the result of ``spec`` on ``inputs`` to a block, which fills its folder unless it exists already.

        Two callers that want the same result at once: the second waits and then reuses. One that exists is found at
        once, however long somebody else reads it. Inputs are read-locked while they are read. The result is complete
        when the block ends; a block that fails, or a process killed at any moment, leaves the former result and at
        most a temporary folder, which the next build sweeps.

        Args:
            spec: What the stage reads of the experiment's spec.
            inputs: Results of other stages, or digests of data from outside, by name.
            waiting: Is told who else builds or reads it, when that has to be waited for.

        Raises:
            StorageError: The storage can't be written.
        """
        lineage = fingerprints(inputs)
        fingerprint = spec.fingerprint(lineage)
        folder = self.root / spec.section.output_location / spec.stage / fingerprint
        existing = Result(spec.stage, fingerprint, folder)
        if not spec.section.clear_folder and self._is_there(existing):
            yield Build(existing, needed=False)
            return
        with ExitStack() as stack:
            for value in inputs.values():
                if isinstance(value, Result):
                    stack.enter_context(self.reading(value))
            name, purpose = f"{spec.stage}/{fingerprint}", f"building for {spec.experiment_id}"
            stack.enter_context(hold(self.lock_folder, name, "write", purpose, waiting=waiting))
            if is_complete(folder) and not spec.section.clear_folder:
                yield Build(existing, needed=False)
                return
            head = {**manifest_head(spec, fingerprint, lineage), "ancestors": ancestors(inputs)}
            with _new_folder(folder, head) as temporary:
                yield (build := Build(replace(existing, reused=False), needed=True, folder=temporary))
                write_json(temporary / REPORT, build.finished_report())

    def _is_there(self, result: Result) -> bool:
        """Return whether a result is complete; waits for somebody who builds or deletes it, not for readers."""
        if not result.folder.exists():
            return False
        with self.reading(result):
            return is_complete(result.folder)

    def reading(self, result: Result) -> Any:
        """Hold a read lock on a result for the block, so that nobody deletes it meanwhile."""
        return hold(self.lock_folder, f"{result.stage}/{result.fingerprint}", "read", "reading")

    def open(self, stage: str, fingerprint: str) -> Result:
        """Return an existing result, whatever its output_location.

        Raises:
            StorageError: It does not exist or is not complete.
        """
        found = self.find(stage, fingerprint)
        if found is not None:
            return found
        raise StorageError(f"{self.root} holds no complete {stage} {fingerprint}. Materialize {stage} again.")

    def find(self, stage: str, fingerprint: str) -> Result | None:
        """Return an existing result, whatever its output_location; None when there is no complete one."""
        for folder in sorted(self.root.glob(f"*/{stage}/{fingerprint}")):
            if is_complete(folder):
                return Result(stage, fingerprint, folder)
        return None


@contextmanager
def _new_folder(folder: Path, head: dict[str, Any]) -> Iterator[Path]:
    """Give an empty folder to a block; it becomes ``folder`` when the block ends, and is gone when the block fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    temporary = temporary_sibling(folder)
    temporary.mkdir()
    try:
        yield temporary
        seal(temporary, head)
        put_in_place(temporary, folder)
        shutil.rmtree(scratch_of(folder), ignore_errors=True)
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename or folder})"
        problem = f"The result of {head['stage']} can't be written: {reason}."
        raise StorageError(f"{problem} Free space or make it writable, then run again.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def scratch_of(folder: Path) -> Path:
    """Return the scratch folder of a result; hidden from whoever lists results."""
    return folder.parent / SCRATCH / folder.name


def verify(result: Result) -> list[str]:
    """Return what differs between a result's files and its manifest; empty when all is well."""
    wanted = result.manifest["files"]
    found = describe_files(result.folder)
    found.pop(MANIFEST, None)
    missing = [f"{name} is missing" for name in wanted if name not in found]
    extra = [f"{name} is not in the manifest" for name in found if name not in wanted]
    changed = [f"{name} has changed" for name in wanted if name in found and found[name] != wanted[name]]
    return missing + extra + changed


def fingerprints(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint, or digest, of each input."""
    return {name: value if isinstance(value, str) else value.fingerprint for name, value in inputs.items()}


def manifest_head(spec: StageConfig[StageSection], fingerprint: str, lineage: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of a manifest that says what a result was made from."""
    return {
        "stage": spec.stage,
        "fingerprint": fingerprint,
        "code_version": STAGES[spec.stage].code_version,
        "inputs": dict(lineage),
        "section": spec.section.content(),
        "seed": spec.seed,
        "task": spec.task if STAGES[spec.stage].reads_task else None,
    }


def ancestors(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint of every stage that went into these inputs, themselves included."""
    found: dict[str, str] = {}
    for value in inputs.values():
        if isinstance(value, Result):
            found |= {**value.manifest["ancestors"], value.stage: value.fingerprint}
    return found
