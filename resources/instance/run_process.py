"""Processes of runs, seen from outside: their files in the Dagster home, starting, waiting, killing.

A run's process keeps its process file locked for as long as it lives. The operating system frees the lock however the
process ends, while a process ID alone may belong to another process by now.

Belongs here: process file and log, fresh processes, what a terminal claims. Does not belong here: what happens in a
process (``run_worker``), when one is started (``run_launcher``), forking from the template (``run_template``).
"""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.origin import JobPythonOrigin

from assay.errors import StorageError
from assay.spec.ids import validate_id

ARGUMENTS = "DAGSTER_RUN_ARGUMENTS"
"""Environment variable with Dagster's arguments of the run, as JSON, which is too long for a command line."""


RunOrigin = JobPythonOrigin
"""Where the code of a run is: its interpreter, and how the definitions are loaded."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run's process.

    Attributes:
        folder: Folder with the files of all runs.
        run_id: Dagster's ID of the run.
    """

    folder: Path
    run_id: str

    @classmethod
    def of(cls, instance: dg.DagsterInstance, run_id: str) -> "RunFiles":
        """Return the files of a run of this instance."""
        return cls(Path(instance.root_directory) / "processes", run_id)

    @property
    def log(self) -> Path:
        """Log of the output outside of steps; Dagster captures the output of steps."""
        return self.folder / f"{self.run_id}.log"

    @property
    def process(self) -> Path:
        """The locked file with the process ID; it is removed when the process ends by itself."""
        return self.folder / f"{self.run_id}.process"

    def claim(self) -> int:
        """Lock the run's process file for a process that is about to start.

        Returns:
            The locked file descriptor, which the process must inherit.

        Raises:
            StorageError: A process of this run is alive.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.process, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            message = (
                f"Run {self.run_id} has a process already ({self.process_id()}); it is not started twice. It happens "
                "when two daemons share one $DAGSTER_HOME: end one of them."
            )
            raise StorageError(message) from None
        return descriptor

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make this process the run's process for the block.

        Raises:
            StorageError: A process of this run is alive.
        """
        claim = self.claim()
        try:
            note_process(claim, os.getpid())
            yield
        finally:
            self.release()
            os.close(claim)

    def release(self) -> None:
        """Remove the process file, when the process ends by itself or could not be started."""
        self.process.unlink(missing_ok=True)

    @property
    def known(self) -> bool:
        """Whether the process file exists: a process was started and has not ended by itself."""
        return self.process.exists()

    @property
    def alive(self) -> bool:
        """Whether the run's process is alive."""
        try:
            descriptor = os.open(self.process, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def process_id(self) -> int | None:
        """Return the recorded process ID; None if there is none."""
        try:
            return int(self.process.read_text() or 0) or None
        except FileNotFoundError:
            return None

    def log_tail(self) -> str:
        """Return the end of the log; empty if there is no log."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


def spawn(python: str, arguments: str, files: RunFiles) -> subprocess.Popen[bytes]:
    """Start a fresh process for a run, in its own session.

    Args:
        python: Path of the interpreter.
        arguments: Dagster's serialized ``ExecuteRunArgs``.
        files: The run's files.

    Raises:
        StorageError: A process of this run is alive.
    """
    claim = files.claim()
    try:
        with files.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [python, "-m", "resources.instance.run_worker", str(files.folder), files.run_id],
                env={**os.environ, ARGUMENTS: arguments},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[claim],
                start_new_session=True,
            )
        note_process(claim, process.pid)
    finally:
        os.close(claim)
    return process


def ended_within(seconds: float, files: RunFiles) -> bool:
    """Wait for a run's process to end; returns whether it did in time."""
    deadline = time.monotonic() + seconds
    while files.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def kill(pid: int) -> None:
    """Kill a run's process, and its children if it leads a process group."""
    with suppress(ProcessLookupError):  # it has just ended
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


def free_abandoned_slots(instance: dg.DagsterInstance, pool: str) -> set[str]:
    """Free the slots of a pool that runs hold whose process has died, as the daemon does where one is running.

    Returns:
        The runs that hold a slot of the pool, if there is none left; else nothing.
    """
    storage = instance.event_log_storage
    holders = {slot.run_id for slot in storage.get_concurrency_info(pool).claimed_slots}
    for run_id in holders:
        run, files = instance.get_run_by_id(run_id), RunFiles.of(instance, run_id)
        if run is None or run.is_finished or (files.known and not files.alive):
            storage.free_concurrency_slots_for_run(run_id)
    left = storage.get_concurrency_info(pool)
    is_full = left.slot_count and left.active_slot_count >= left.slot_count
    return {slot.run_id for slot in left.claimed_slots} if is_full else set()


@contextmanager
def claimed_by_terminal(
    instance: dg.DagsterInstance, experiment_id: str, run_id: str, assets: Iterable[str]
) -> Iterator[None]:
    """Let the launcher know, for the block, that a run in a terminal is about to make these assets of an experiment.

    The claim is there before the run is, which takes Dagster a second to record as started. Of two terminals, the first
    one has it.
    """
    path = _claim_path(instance, experiment_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield
            return
        file.truncate(0)
        file.write(json.dumps([run_id, *assets]).encode())
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def claimed_in_terminal(instance: dg.DagsterInstance, experiment_id: str) -> tuple[str, frozenset[str]]:
    """Return the run in a terminal that is at work on an experiment, and its assets; both empty if there is none."""
    try:
        with _claim_path(instance, experiment_id).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                run_id, *assets = json.loads(file.read() or b'[""]')
                return run_id, frozenset(assets)
    except FileNotFoundError:
        pass
    return "", frozenset()


def _claim_path(instance: dg.DagsterInstance, experiment_id: str) -> Path:
    return Path(instance.root_directory) / "processes" / f"{validate_id(experiment_id)}.terminal"


LOG_TAIL_BYTES = 2000


def note_process(descriptor: int, pid: int) -> None:
    """Write the ID of the process that inherited the locked descriptor."""
    os.pwrite(descriptor, str(pid).encode(), 0)
    os.ftruncate(descriptor, len(str(pid)))
