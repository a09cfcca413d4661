"""Parallel work on many items, in order and in constant memory; how long-running code reports its progress; a fast end.

Threads are enough where Pillow, zlib or NumPy do the work, because these release the interpreter's lock.
"""

import atexit
import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType
from typing import NoReturn, Protocol, TypeVar

Item = TypeVar("Item")

Value = TypeVar("Value")


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[Item], Value], items: Iterable[Item], workers: int) -> Iterator[Value]:
    """Yield ``function(item)`` for each item, in the items' order.

    At most ``2 * workers`` items are in flight, so memory does not grow with their number. After the first error, no
    further item is started.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="assay") as pool:
        in_flight: deque[Future[Value]] = deque()
        try:
            for item in items:
                in_flight.append(pool.submit(function, item))
                if len(in_flight) == 2 * workers:
                    yield in_flight.popleft().result()
            while in_flight:
                yield in_flight.popleft().result()
        finally:
            for future in in_flight:
                future.cancel()


NO_VALUES: Mapping[str, float] = MappingProxyType({})


class Progress(Protocol):
    """A progress callback; it may be called at any rate."""

    def __call__(self, done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES, /) -> None:
        """Report progress.

        Args:
            done: Number of units done.
            total: Total number of units.
            note: Short text such as ``"loss 0.31"``; may be empty.
            values: Numbers to plot over time, by name, such as ``loss`` or ``items_per_s``; may be empty.
        """


def silent(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
    """Report nothing."""


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""

KEPT_BYTES = 1 << 26


def keep_freed_memory() -> None:
    """Let the C library keep up to 64 MB of freed memory for what comes next, where it can be told so.

    Each picture's arrays are large enough that it would give them back to the system at once: a fifth of the time of
    predicting a thousand pictures went into getting the same memory again.
    """
    with suppress(OSError, AttributeError):  # only glibc has it
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def leave(code: int) -> NoReturn:
    """Run the registered exit functions, flush the output, and end the process with an exit code."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
