"""Dagster's files of what steps print, whose helper processes hear no Ctrl-C, and on Linux are half as many.

Dagster starts two processes per stream: one copies what is printed to the terminal, the other, a Python of its own,
ends it when the run's process has died. A Ctrl-C reaches every process of the terminal, and each of them would print a
traceback beside the sentence that ``assay run`` ends with; they end with the run anyway. On Linux, the first one sees
for itself that the run's process is gone.

Belongs here: how these processes are started and ended. Does not belong here: what is kept and where, which is
Dagster's.
"""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager

from assay.experiments.workspace import dagster_home


class QuietComputeLogManager(LocalComputeLogManager):
    """Dagster's own manager, in its usual place: the folder ``storage`` of the Dagster home."""

    @classmethod
    def config_type(cls) -> Any:
        """Return no keys: the place is Dagster's usual one."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "QuietComputeLogManager":
        """Return the manager of this Dagster home."""
        return cls(base_dir=str(dagster_home() / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[Any]:
        """Capture what is printed in the block, and copy it to where it would have been printed."""
        if sys.platform != "linux":
            with _entered_unheard(super().capture_logs(log_key)) as context:
                yield context
            return
        out, err = (
            Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]))
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        with _copied(sys.stdout, out), _copied(sys.stderr, err):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]


@contextmanager
def _copied(stream: TextIO, path: Path) -> Iterator[None]:
    """Write what is printed to a stream into a file, from which ``tail`` copies it to the stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        stream.fileno()
    except io.UnsupportedOperation:  # a stream in memory, which only tests have
        yield
        return
    with _unheard():
        tail = subprocess.Popen(  # noqa: S603 - fixed program, our own file
            ["tail", f"--pid={os.getpid()}", "-F", "-c", "+0", str(path)],  # noqa: S607 - the system's own
            stdin=subprocess.DEVNULL,
            stdout=stream,
        )
    try:
        with redirect_to_file(stream, str(path)):
            yield
    finally:
        time.sleep(float(os.getenv("DAGSTER_COMPUTE_LOG_TAIL_WAIT_AFTER_FINISH", "0")))  # Dagster's own setting
        tail.terminate()
        tail.wait()


@contextmanager
def _entered_unheard(captured: Any) -> Iterator[Any]:
    """Enter a context whose helper processes hear no Ctrl-C, and leave it as usual."""
    with _unheard():
        context = captured.__enter__()
    try:
        yield context
    except BaseException as error:
        if not captured.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        captured.__exit__(None, None, None)


@contextmanager
def _unheard() -> Iterator[None]:
    """Let what is started in the block hear no Ctrl-C: a signal mask is inherited, also across ``exec``."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
