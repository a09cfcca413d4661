"""An existing model on other data, and copies of experiments beside ``cp -r``.

The files of a copy are read from the disk, not from memory, as those of an
experiment are that was made yesterday, and both copies end when their bytes are on the disk; the row beside ``cp -r``
alone has neither.
"""

import hashlib
import json
import os
import random
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

from assay.storage.locations.filesystem import Tree
from assay.storage.locations.sync import sync_folder
from benchmarks.op_based import EVALUATION_S, op_based
from benchmarks.rows import Row, at_most
from benchmarks.runs import Bench
from benchmarks.timing import seconds

EVALUATIONS, REPEATS = 5, 5
LARGE, SMALL = 16_000_000, 2_000
"""Sizes of an experiment's files in bytes: weights and tables, descriptions and reports."""


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` copies little, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        evaluation = _evaluation(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        return [*evaluation, *_copies(Path(folder), 2 if quick else 16)]


def _evaluation(folder: Path) -> list[Row]:
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
    floor = "data and tests included; floor: the same again, everything found"
    return [
        Row("job_eval on 50 rows", median(first), target=at_most(2.05, of="floor"), floor=median(again), note=floor),
        op_based("job_eval, regression", EVALUATION_S),
    ]


def _write_table(path: Path, count: int) -> None:
    chance = random.Random(count)
    rows = [(chance.uniform(20, 200), chance.choice("abc"), chance.uniform(0, 1)) for _ in range(count)]
    lines = [f"{area:.1f},{place},{age:.2f},{area * 3 + 50 * age:.1f}" for area, place, age in rows]
    path.write_text("\n".join(["area,place,age,price", *lines]))


def _copies(folder: Path, large: int) -> list[Row]:
    source = folder / "source"
    size = _fill(source, large)
    what = f"{size / 1e6:.0f} MB in {large + 40} files"
    return [
        _beside("`cp -r` and `sync`", source, _cold, _cp_and_sync, 1.35, f"{what}; SHA-256 of every file compared"),
        _beside("`cp -r` alone, all in memory", source, _timed, _cp, 3.8, "not the same work: only we flush and hash"),
    ]


def _beside(
    name: str,
    source: Path,
    timed: Callable[[Path, Callable[[], object]], float],
    other: Callable[[Path, Path], object],
    most: float,
    note: str,
) -> Row:
    """Return how often as long as another copy ours takes, the two in turns."""
    ours, theirs = [], []
    for _ in range(REPEATS):
        for times, copy in ((theirs, other), (ours, _our_copy)):
            with tempfile.TemporaryDirectory(dir=source.parent) as place:
                times.append(timed(source, lambda copy=copy, to=Path(place) / "copy": copy(source, to)))  # type: ignore[misc]
    both = f"{median(ours):.2f} s and {median(theirs):.2f} s; {note}"
    return Row(f"copy of an experiment, beside {name}", median(ours) / median(theirs), "x", at_most(most), note=both)


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
    return seconds(work)
