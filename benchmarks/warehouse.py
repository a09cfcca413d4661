"""The warehouse over 10,000 experiments: building it, asking it, refreshing it, beside plain views over the files.

``python -m benchmarks.warehouse [--quick]`` prints a Markdown table.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl

from assay.storage.parquet import write_parquet
from assay.storage.partitions import CURRENT, find_tables
from assay.storage.warehouse import INDEX, NATIVE, query, rebuild_warehouse, refresh_warehouse
from assay.storage.warehouse.database import Index
from assay.storage.warehouse.refresh import update
from benchmarks.rows import row
from benchmarks.run import table

VARIANTS = 100
"""Different contents per table; ten thousand experiments link to them, each under a name of its own."""

EPOCHS, ITEMS, CLASSES, METRICS, PIXELS = 25, 400, 10, 35, 100
SQL = "SELECT experiment_id, value FROM analysis WHERE subset = 'test' AND metric = 'metric_3'"
Files = Mapping[str, Sequence[Path]]


def frames(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """Return one experiment's tables, of the size that a small classification has."""
    probabilities = rng.random((ITEMS, CLASSES)).astype(np.float32)
    pixels = rng.random((ITEMS, PIXELS)).astype(np.float32)
    rows = 2 * METRICS
    return {
        "experiments": pl.DataFrame({"task": ["classification"], "name": ["bench"], "spec": [rng.bytes(500).hex()]}),
        "training_history": pl.DataFrame(
            {
                "epoch": pl.Series(np.repeat(np.arange(EPOCHS), 3), dtype=pl.Int32),
                "subset": ["train"] * 3 * EPOCHS,
                "metric": ["loss", "accuracy", "learning_rate"] * EPOCHS,
                "value": rng.random(3 * EPOCHS),
            }
        ),
        "predictions": pl.DataFrame(
            {
                "item": [f"{number:06d}-{rng.integers(2**31)}" for number in range(ITEMS)],
                "subset": ["test"] * ITEMS,
                "predicted_class": [str(index) for index in probabilities.argmax(axis=1)],
                **{f"prob_{index}": probabilities[:, index] for index in range(CLASSES)},
            }
        ),
        "analysis": pl.DataFrame(
            {
                "subset": ["validation"] * METRICS + ["test"] * METRICS,
                "metric": [f"metric_{index}" for index in range(METRICS)] * 2,
                **{name: rng.random(rows) for name in ("value", "ci_low", "ci_high", "baseline")},
                "count": [ITEMS] * rows,
            }
        ),
        "tabular": pl.DataFrame({f"px_{index}": pixels[:, index] for index in range(PIXELS)}),
        "normalized": pl.DataFrame({f"px_{index}": pixels[:, index] for index in range(PIXELS)}),
    }


def make_files(folder: Path) -> Files:
    """Write the contents that partitions link to."""
    rng = np.random.default_rng(0)
    files: dict[str, list[Path]] = {}
    for number in range(VARIANTS):
        for name, frame in frames(rng).items():
            path = folder / f"{name}-{number}.parquet"
            write_parquet(frame, path)
            files.setdefault(name, []).append(path)
    return files


def add_experiment(root: Path, files: Files, number: int) -> None:
    """Add an experiment's partitions in the layout of ``assay.storage.partitions``, without its fsyncs.

    Tables of learning are each experiment's own; tables of data are shared results, as in a sweep.
    """
    for name, variants in files.items():
        path = variants[number % len(variants)]
        fingerprint = f"{number:024d}" if name in NATIVE else path.stem
        folder = root / "tables" / "main" / name / f"experiment_id=e{number:06d}"
        version = folder / f"version-{number:012d}"
        version.mkdir(parents=True)
        (version / f"{fingerprint}.parquet").hardlink_to(path)
        (folder / CURRENT).symlink_to(version.name)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ask_views(root: Path) -> pl.DataFrame:
    """Answer as if there were no index: views in memory, over the files."""
    index = Index(duckdb.connect())
    index.create()
    update(index, find_tables(root, lambda name: name == "main.analysis"), [], native=())
    return index.connection.sql(SQL).pl()


def refresh_after(change: Callable[[], object], root: Path) -> float:
    change()
    return refresh_warehouse(root).duration_s


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures."""
    count, repeats = (200, 2) if quick else (10_000, 5)
    with tempfile.TemporaryDirectory() as name:
        root, files = Path(name) / "storage", make_files(Path(name) / "files")
        for number in range(count):
            add_experiment(root, files, number)
        os.sync()  # what the preparation left for later is not the warehouse's time
        views = seconds(lambda: ask_views(root))
        build = seconds(lambda: rebuild_warehouse(root))
        os.sync()
        size_mb = (root / INDEX).stat().st_size / 1e6
        assert len(query(root, SQL)) == count
        select = [seconds(lambda: query(root, SQL)) for _ in range(repeats)]
        idle = [refresh_warehouse(root).duration_s for _ in range(repeats)]
        new = iter(range(count, count + 2 * repeats))
        one = [refresh_after(lambda: add_experiment(root, files, next(new)), root) for _ in range(repeats)]
        asked = []
        for _ in range(repeats):
            add_experiment(root, files, next(new))
            asked.append(seconds(lambda: query(root, SQL)))
    what = f"{count} experiments, {len(files)} tables, {count * len(files)} partitions"
    return [
        row("warehouse: first build of the index", build, None, f"{what}; {size_mb:.0f} MB"),
        row(
            "warehouse: one metric of all experiments", median(select), 0.5, f"the same over plain views: {views:.1f} s"
        ),
        row(
            "warehouse: the same right after one new experiment", median(asked), None, "with the refresh that it needs"
        ),
        row("warehouse: refresh after one new experiment", median(one), 1.0, f"{len(files)} new partitions"),
        row("warehouse: refresh with nothing changed", median(idle), 0.3, f"a look at {count * len(files)} links"),
    ]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(table(run(parser.parse_args().quick)))
