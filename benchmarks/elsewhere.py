"""An existing model on other data, and copies of experiments beside ``cp -r``.

``python -m benchmarks.run elsewhere``. The files of a copy are read from the disk, not from memory, as those of an
experiment are that was made yesterday, and both copies end when their bytes are on the disk; the row beside ``cp -r``
alone has neither.
"""

import hashlib
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from assay.storage.locations.filesystem import Tree
from assay.storage.locations.sync import sync_folder
from benchmarks.rows import row
from benchmarks.runs import Bench

FORMER_S = 30.0
"""What the op-based pipeline took for an evaluation of 50 rows, in seconds."""

EVALUATIONS, REPEATS = 5, 5
LARGE, SMALL = 16_000_000, 2_000
"""Sizes of an experiment's files in bytes: weights and tables, descriptions and reports."""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; ``quick`` copies little, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        evaluation = _evaluation(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        return [*evaluation, *_copies(Path(folder), 2 if quick else 16)]


def _evaluation(folder: Path) -> list[dict[str, Any]]:
    """Time ``job_eval`` as a user starts it, process start and imports included."""
    bench = Bench(folder)
    for name, count in (("taught", 500), ("other", 50)):
        _write_table(folder / f"{name}.csv", count)
    source = {"kind": "table", "path": str(folder / "taught.csv"), "target_column": "price"}
    bench.write("source", task="regression", generated_images={"source": source})
    bench.time("assay", "run", "source")
    first, again = [], []
    for seed in range(EVALUATIONS):
        name = f"judged{seed}"
        bench.write(
            name,
            task="regression",
            seed=seed,  # nothing of the former evaluation is found
            existing_experiment="source",
            generated_images={"source": {**source, "path": str(folder / "other.csv")}},
            splits={"set_infos": [{"set_name": "test", "probability": 1.0}]},
            predictions={"datasets": ["test"]},
            exptests={"tests": []},
        )
        for times in (first, again):
            times.append(bench.time("assay", "run", name, "--job", "job_eval").wall_s)
    former = f"op-based pipeline: {FORMER_S:.0f} s, {FORMER_S / median(first):.0f} x as long; data, tests included"
    return [row("job_eval on 50 rows", median(first), 5.0, former, floor=median(again))]


def _write_table(path: Path, count: int) -> None:
    chance = random.Random(count)
    rows = [(chance.uniform(20, 200), chance.choice("abc"), chance.uniform(0, 1)) for _ in range(count)]
    lines = [f"{area:.1f},{place},{age:.2f},{area * 3 + 50 * age:.1f}" for area, place, age in rows]
    path.write_text("\n".join(["area,place,age,price", *lines]))


def _copies(folder: Path, large: int) -> list[dict[str, Any]]:
    source = folder / "source"
    size = _fill(source, large)
    what = f"{size / 1e6:.0f} MB in {large + 40} files"
    return [
        _beside("`cp -r` and `sync`", source, _cold, _cp_and_sync, 1.5, f"{what}; SHA-256 of every file compared"),
        _beside("`cp -r` alone, all in memory", source, _timed, _cp, None, "we flush and hash, it does neither"),
    ]


def _beside(
    name: str,
    source: Path,
    timed: Callable[[Path, Callable[[], object]], float],
    other: Callable[[Path, Path], object],
    target: float | None,
    note: str,
) -> dict[str, Any]:
    """Return how often as long as another copy ours takes, the two in turns."""
    ours, theirs = [], []
    for _ in range(REPEATS):
        for times, copy in ((theirs, other), (ours, _our_copy)):
            with tempfile.TemporaryDirectory(dir=source.parent) as place:
                times.append(timed(source, lambda copy=copy, to=Path(place) / "copy": copy(source, to)))  # type: ignore[misc]
    return {
        "benchmark": f"copy of an experiment, beside {name}",
        "value": median(ours) / median(theirs),
        "unit": "x",
        "target": target,
        "floor": None,
        "note": f"{median(ours):.2f} s and {median(theirs):.2f} s; {note}",
    }


def _fill(folder: Path, large: int) -> int:
    """Write a finished folder; returns its size in bytes."""
    entries = {}
    for number in range(large + 40):
        name, size = (f"models/{number}.bin", LARGE) if number < large else (f"results/{number}.json", SMALL)
        content = random.Random(number).randbytes(size)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        entries[name] = {"size_bytes": size, "sha256": hashlib.sha256(content).hexdigest(), "stage": "analysis"}
    (folder / "manifest.json").write_text(json.dumps({"results": {}, "files": entries}))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _our_copy(source: Path, target: Path) -> None:
    sync_folder(Tree.of(source), Tree.of(target))


def _cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)


def _cp_and_sync(source: Path, target: Path) -> None:
    _cp(source, target)
    subprocess.run(["sync", "-f", str(target)], check=True)


def _cold(source: Path, work: Callable[[], object]) -> float:
    """Return how long something takes whose source is not in memory and before which nothing waits to be written."""
    os.sync()
    for path in source.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    return _timed(source, work)


def _timed(_: Path, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
