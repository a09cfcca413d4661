"""Building, sharing and finding result folders.

Belongs here: who builds, who waits, where a result is. Does not belong here: what is in it, or in its manifest.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.pipeline import STAGES, StageConfig
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
from assay.utils.text import natural_sort_key

SCRATCH = ".scratch"
"""Folder beside results for what unfinished builds keep."""

Report = dict[str, Any]

Build = Callable[[Path], Report]
"""Fills an empty folder and returns the statistics to show."""


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
        report: Report = json.loads((self.folder / REPORT).read_text())
        return report

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Size and SHA-256 of every file, and what the result was made from."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text())
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


class ResultStore:
    """Result folders below one storage root: ``<root>/<output_location>/<stage>/<fingerprint>/``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.lock_folder = self.root / "locks"

    def scratch(self, spec: StageConfig, inputs: Mapping[str, Result | str]) -> Path:
        """Return where the build of a result may keep what a killed one needs to go on; gone when the result is there.

        The folder need not exist. Only a build of this very result, which holds its lock, may write there.
        """
        place = self.root / spec.section.output_location / spec.stage
        return scratch_of(place / spec.fingerprint(fingerprints(inputs)))

    def build(
        self, spec: StageConfig, inputs: Mapping[str, Result | str], build: Build, waiting: Waiting | None = None
    ) -> Result:
        """Return the result of ``spec`` on ``inputs``, computing it only when it does not exist yet.

        Two callers that want the same result at once: the second waits and then reuses. One that exists is found at
        once, however long somebody else reads it. Inputs are read-locked while they are read. A process killed at any
        moment leaves at most a temporary folder, swept by the next build.

        Args:
            spec: What the stage reads of the experiment's spec.
            inputs: Results of other stages, or digests of data from outside, by name.
            build: Fills an empty folder and returns the report.
            waiting: Is told who else builds or reads it, when that has to be waited for.

        Raises:
            StorageError: The storage can't be written.
        """
        lineage = fingerprints(inputs)
        fingerprint = spec.fingerprint(lineage)
        folder = self.root / spec.section.output_location / spec.stage / fingerprint
        existing = Result(spec.stage, fingerprint, folder)
        if not spec.section.clear_folder and self._is_there(existing):
            return existing
        with ExitStack() as stack:
            for value in inputs.values():
                if isinstance(value, Result):
                    stack.enter_context(self.reading(value))
            name, purpose = f"{spec.stage}/{fingerprint}", f"building for {spec.experiment_id}"
            stack.enter_context(hold(self.lock_folder, name, "write", purpose, waiting=waiting))
            reused = is_complete(folder) and not spec.section.clear_folder
            if not reused:
                head = manifest_head(spec, fingerprint, lineage)
                self._build_folder(folder, build, {**head, "ancestors": ancestors(inputs)})
        return Result(spec.stage, fingerprint, folder, reused)

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

    def _build_folder(self, folder: Path, build: Build, head: dict[str, Any]) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        temporary = temporary_sibling(folder)
        temporary.mkdir()
        try:
            report = build(temporary)
            write_json(temporary / REPORT, report)
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


REPORT = "report.json"


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


def manifest_head(spec: StageConfig, fingerprint: str, lineage: Mapping[str, str]) -> dict[str, Any]:
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
