"""Building, sharing and finding result folders.

Belongs here: who builds, who waits, where a result is. Does not belong here: what is in it, or in its manifest.
"""

import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.locks import Waiting, hold
from assay.pipeline import Slice
from assay.results.lineage import ancestors, fingerprints, manifest_head
from assay.results.result import REPORT, Report, Result
from assay.sealing import is_complete, put_in_place, seal, sweep
from assay.storage.files import temporary_sibling, write_json

SCRATCH = ".scratch"
"""Folder beside results for what unfinished builds keep."""

Build = Callable[[Path], Report]
"""Fills an empty folder and returns the statistics to show."""


class ResultStore:
    """Result folders below one storage root: ``<root>/<output_location>/<stage>/<fingerprint>/``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.lock_folder = self.root / "locks"

    def scratch(self, spec: Slice, inputs: Mapping[str, Result | str]) -> Path:
        """Return where the build of a result may keep what a killed one needs to go on; gone when the result is there.

        The folder need not exist. Only a build of this very result, which holds its lock, may write there.
        """
        place = self.root / spec.section.output_location / spec.stage
        return scratch_of(place / spec.fingerprint(fingerprints(inputs)))

    def build(
        self, spec: Slice, inputs: Mapping[str, Result | str], build: Build, waiting: Waiting | None = None
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
        sweep(folder)
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
