"""A lock of one's own: one of several seats, each a file that the operating system locks and frees."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from assay_robust.kinds import Seats

POLL_S = 0.1


@contextmanager
def seat(section: Seats, purpose: str) -> Iterator[None]:
    """Hold a seat for the block.

    Args:
        section: Its keys in the spec.
        purpose: What it is held for.

    Raises:
        TimeoutError: None was free within ``timeout_s``.
    """
    folder = Path(section.folder) / section.location
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + section.timeout_s
    while True:
        for number in range(section.seats):
            lock = FileLock(folder / f"{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield
            finally:
                lock.release()
            return
        if time.monotonic() > until:
            raise TimeoutError(f"all {section.seats} seats are taken")
        time.sleep(POLL_S)
