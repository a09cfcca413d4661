"""The warehouse over 10,000 experiments: building it, asking it, refreshing it, beside plain views over the files."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import polars as pl

from assay.storage.parquet import write_parquet
from assay.storage.partitions import CURRENT, find_tables
from assay.storage.warehouse import INDEX, NATIVE, query, rebuild_warehouse, refresh_warehouse
from assay.storage.warehouse.database import Index
from assay.storage.warehouse.refresh import update
from benchmarks.rows import Row, Target, at_least, at_most
from benchmarks.timing import seconds

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


def ask_views(root: Path) -> pl.DataFrame:
    """Answer as if there were no index: views in memory, over the files."""
    index = Index(duckdb.connect())
    index.create()
    update(index, find_tables(root, lambda name: name == "main.analysis"), [], native=())
    return index.connection.sql(SQL).pl()


def refresh_after(change: Callable[[], object], root: Path) -> float:
    change()
    return refresh_warehouse(root).duration_s


def read_links(root: Path) -> int:
    """Read where every partition's link leads, which no refresh can do without; returns how many there are."""
    return sum(bool((path / CURRENT).readlink()) for path in (root / "tables").glob("*/*/*"))


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few experiments, to see that it runs."""
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
        select = seconds(lambda: query(root, SQL), repeats)
        idle = median(refresh_warehouse(root).duration_s for _ in range(repeats))
        links = seconds(lambda: read_links(root), repeats)
        new = iter(range(count, count + 2 * repeats))
        one = median(refresh_after(lambda: add_experiment(root, files, next(new)), root) for _ in range(repeats))
        asked = median(ask_after(lambda: add_experiment(root, files, next(new)), root) for _ in range(repeats))
    what = f"{count} experiments, {len(files)} tables, {count * len(files)} partitions"
    in_new, floor = f"{len(files)} new partitions", "floor: reading all links"
    return [
        Row("warehouse: first build of the index", build, target=_s(38), note=f"{what}; {size_mb:.0f} MB"),
        Row("warehouse: one metric of all experiments", select, target=_s(0.1)),
        Row(
            "plain views: one metric of all experiments",
            views,
            note="views in memory over the same files, made and asked",
        ),
        Row("warehouse: one metric, times as fast as plain views", views / select, "x", at_least(60)),
        Row("warehouse: one metric right after one new experiment", asked, target=_s(0.3), note="refreshed first"),
        Row("warehouse: refresh after one new experiment", one, target=_s(0.67), floor=links, note=in_new),
        Row("warehouse: refresh with nothing changed", idle, target=_s(0.37), floor=links, note=floor),
    ]


def _s(most: float) -> Target:
    return at_most(most, of="machine")


def ask_after(change: Callable[[], object], root: Path) -> float:
    change()
    return seconds(lambda: query(root, SQL))
