"""How long some work takes."""

import time
from collections.abc import Callable
from statistics import median


def seconds(work: Callable[[], object], repeats: int = 1) -> float:
    """Return what some work takes, in seconds: the median of as many times."""
    return median(_once(work) for _ in range(repeats))


def _once(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
