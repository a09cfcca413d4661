"""A run's process from outside: starting a fresh one, waiting for its end, killing it.

Belongs here: processes. Does not belong here: what happens in them (``run_worker``), when they are started
(``run_launcher``), copies of the template (``run_template``).
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assay.errors import StorageError

ARGUMENTS = "DAGSTER_RUN_ARGUMENTS"
"""Environment variable with Dagster's arguments of the run, as JSON: too long for a command line."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run's process.

    Attributes:
        folder: Where the files of all runs are.
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
        """What the process prints outside of steps; Dagster keeps what steps print."""
        return self.folder / f"{self.run_id}.log"

    @property
    def process(self) -> Path:
        """The locked file with the process ID; gone when the process ended by itself."""
        return self.folder / f"{self.run_id}.process"

    def claim(self) -> int:
        """Lock the run for a process that is about to start, which must inherit the descriptor that is returned.

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
        """Be the run's process for the block.

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
        """Remove the process file: the process ends in peace, or never started."""
        self.process.unlink(missing_ok=True)

    @property
    def known(self) -> bool:
        """Whether a process of this run was started here and has not ended by itself."""
        return self.process.exists()

    @property
    def alive(self) -> bool:
        """Whether the run's process lives."""
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
        """Return the process ID that was noted, or None when there is none."""
        try:
            return int(self.process.read_text() or 0) or None
        except FileNotFoundError:
            return None

    def log_tail(self) -> str:
        """Return the end of the log; empty when there is none."""
        if not self.log.exists():
            return ""
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()


def spawn(python: str, arguments: str, files: RunFiles) -> subprocess.Popen[bytes]:
    """Start a fresh process for a run, with a session of its own.

    Args:
        python: The interpreter.
        arguments: Dagster's ``ExecuteRunArgs``, serialized.
        files: The run's files.

    Raises:
        StorageError: The run has a living process.
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
    """Wait for a run's process; returns whether it ended in time."""
    deadline = time.monotonic() + seconds
    while files.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def kill(pid: int) -> None:
    """Kill a run's process, and its children where it has a process group of its own."""
    with suppress(ProcessLookupError):  # it ended just now
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)


LOG_TAIL_BYTES = 2000


def note_process(descriptor: int, pid: int) -> None:
    """Write the ID of the process that inherited the claim's descriptor."""
    os.pwrite(descriptor, str(pid).encode(), 0)
    os.ftruncate(descriptor, len(str(pid)))
