"""The machine that figures are measured on: what it is, and how fast beside the one that targets in seconds are for."""

import json
import os
import platform
import time
import zlib
from importlib.metadata import version

import numpy as np

PACKAGES = ("dagster", "dagster-duckdb", "duckdb", "polars", "torch", "pillow", "numpy", "scikit-learn", "streamlit")

NOMINAL_S = 0.095
"""What ``fixed_work`` takes on one of the two cores that the targets in seconds were written for, when it is idle."""

REPEATS = 5


def machine() -> str:
    """Return cores, memory, system and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}; {versions}"
    )


def machine_factor(repeats: int = REPEATS) -> float:
    """Return how many times as long as nominal a fixed piece of work takes, one core; 2 is half as fast.

    The fastest of several tries: what the machine can do, not what others leave of it at this moment.
    """
    return min(_seconds() for _ in range(repeats)) / NOMINAL_S


def _seconds() -> float:
    started = time.perf_counter()
    fixed_work()
    return time.perf_counter() - started


def fixed_work() -> int:
    """Do the same work on every machine, of the kinds that benchmarks consist of; changing it changes NOMINAL_S."""
    total = 0
    for number in range(600_000):  # the interpreter
        total += number * number % 7
    records = [{"id": number, "name": f"item-{number}", "values": [number, number / 3]} for number in range(12_000)]
    text = json.dumps(records)  # small objects
    total += len(json.loads(text))
    values = np.random.default_rng(0).random((400, 400))
    for _ in range(4):  # memory and arithmetic, without the threads that a product of matrices would start
        values = np.sort(np.sqrt(values + 1.0), axis=1)
    return total + len(zlib.compress(text.encode() + values.tobytes(), 1))
