"""A run's process from outside: starting a fresh one, waiting for its end, killing it.

Belongs here: processes. Does not belong here: what happens in them (``run_worker``), when they are started
(``run_launcher``), copies of the template (``run_template``).
"""

import os
import signal
import subprocess
import time
from contextlib import suppress

from resources.run_files import RunFiles, note_process

ARGUMENTS = "DAGSTER_RUN_ARGUMENTS"
"""Environment variable with Dagster's arguments of the run, as JSON: too long for a command line."""


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
