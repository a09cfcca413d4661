"""Other processes that hold a lock, until they are killed or told to let go."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assay.errors import StorageError
from assay.storage.locks.acquire import hold

LOST = 7
"""Exit code of a holder that was told, in the end, that it had lost its lock."""

DEADLINE_S = 60
"""Ends what hangs; nothing is expected to take that long, on however busy a machine."""


def wait_until(question: Callable[[], object], what: str) -> None:
    """Wait for something that another process does; fails when it hangs."""
    deadline = time.monotonic() + DEADLINE_S
    while not question():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.002)


class OtherProcess:
    """A process that holds a lock for as long as the file ``go`` is missing."""

    def __init__(self, folder: Path, name: str, mode: str) -> None:
        self.go = folder / "go"
        held = folder / "held"
        self.process = multiprocessing.get_context("spawn").Process(target=self._hold, args=(folder, name, mode, held))
        self.process.start()
        wait_until(lambda: held.exists() or not self.process.is_alive(), "the other process gets the lock")
        assert held.exists(), "the other process did not get the lock"
        held.unlink()
        self.pid = self.process.pid

    def _hold(self, folder: Path, name: str, mode: str, held: Path) -> None:
        try:
            with hold(folder, name, mode, "testing"):
                held.touch()
                while not self.go.exists():
                    time.sleep(0.002)
        except StorageError as error:
            raise SystemExit(LOST if "was lost while it was held" in str(error) else 1) from error

    def let_go(self) -> int:
        """Let it end in peace; returns its exit code."""
        self.go.touch()
        self.process.join(DEADLINE_S)
        self.go.unlink()
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


@pytest.fixture
def other_process(tmp_path):
    """Give ``other_process(name, mode)``: starts one that holds a lock in ``tmp_path``."""
    started = []

    def start(name: str = "place", mode: str = "write") -> OtherProcess:
        started.append(OtherProcess(tmp_path, name, mode))
        return started[-1]

    yield start
    for each in started:
        each.kill()
