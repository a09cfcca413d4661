"""Work on many items with threads, in order and in constant memory.

Belongs here: scheduling. Does not belong here: any work. Threads suffice where Pillow, zlib or NumPy do the work,
because they release the interpreter's lock.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import Protocol, TypeVar

Item = TypeVar("Item")

Value = TypeVar("Value")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[Item], Value], items: Iterable[Item], workers: int) -> Iterator[Value]:
    """Yield ``function(item)`` for each item, in the items' order.

    At most ``2 * workers`` items are in flight, however many there are, so memory does not grow with their number.
    The first error stops everything: items that have not started never do.
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
    """Whoever wants to know how far something is; called as often as the code likes."""

    def __call__(self, done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES, /) -> None:
        """Hear how far it is.

        Args:
            done: Of ``total``.
            total: Whatever is counted.
            note: Short text for people, such as ``"loss 0.31"``; may be empty.
            values: Numbers worth drawing over time, by name, such as ``loss`` or ``items_per_s``; may be empty.
        """


def silent(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
    """Tell nobody."""
