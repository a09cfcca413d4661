"""The I/O manager under 1 and 8 writing processes, beside dagster-duckdb's own in the same run, on the same work.

The floor is the same number of the same tables, written by as many processes as plain Parquet files that are on the
disk when the write ends.
"""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from dagster._core.definitions.resource_definition import ScopedResourcesBuilder
from dagster_duckdb import DuckDBIOManager

from assay.storage.parquet import write_parquet
from benchmarks.rows import Row, at_least, at_most
from resources.io_managers import DbTypeHandler, DuckDBParquetIOManager

ROWS, COLUMNS = 500, 100
PARTITIONS = 15
"""Of each process, for every manager: dagster-duckdb needs a minute for those of 8 processes."""
LIMIT_S, IMPORT_LIMIT_S = 150.0, 120.0
READS = 5
LEAST_SHARE, SLOWEST_S = 0.5, {1: 0.1, 8: 0.55}
"""What ours must reach: of the floor's writes per second; for its longest write, by processes."""


class PolarsHandler(DbTypeHandler[pl.DataFrame]):
    """Writes as dagster-duckdb-polars does, which itself can't read on DuckDB 2."""

    def handle_output(self, context: Any, table_slice: Any, obj: pl.DataFrame, connection: Any) -> None:
        name = f"{table_slice.schema}.{table_slice.table}"
        connection.register("frame", obj)
        connection.execute(f"create table if not exists {name} as select * from frame limit 0")  # noqa: S608
        connection.execute(f"insert into {name} select * from frame")  # noqa: S608

    def load_input(self, context: Any, table_slice: Any, connection: Any) -> pl.DataFrame:
        raise NotImplementedError("the benchmark only writes")

    @property
    def supported_types(self) -> Sequence[type]:
        return [pl.DataFrame]


class StockIOManager(DuckDBIOManager):
    @staticmethod
    def type_handlers() -> Sequence[Any]:
        return [PolarsHandler()]


class PlainFiles:
    """Writes a Parquet file per partition, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def handle_output(self, context: dg.OutputContext, frame: pl.DataFrame) -> None:
        write_parquet(frame, self._folder / f"{context.asset_partition_key}.parquet")


@dataclass(frozen=True)
class Load:
    """Who writes what: ``partitions`` for each of ``processes``, killed after ``limit_s``."""

    manager: str
    processes: int
    partitions: int
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """Durations in seconds of the writes that succeeded, how many did not, and the whole load's wall time."""

    durations: list[float]
    failed: int
    wall_s: float

    @property
    def writes_per_s(self) -> float:
        return len(self.durations) / self.wall_s

    @property
    def slowest_s(self) -> float:
        return max(self.durations, default=float("nan"))


def make_manager(name: str, folder: Path) -> Any:
    if name == "plain":
        return PlainFiles(folder)
    config = config_of(folder)
    context = dg.build_init_resource_context(config=config)
    return {"assay": DuckDBParquetIOManager, "stock": StockIOManager}[name](**config).create_io_manager(context)


def config_of(folder: Path) -> dict[str, Any]:
    return {"database": str(folder / "tables.duckdb"), "connection_config": {}}


def work(load: Load, number: int, folder: Path, ready: Barrier) -> None:
    """Write every partition of one process, and a line about each."""
    manager = make_manager(load.manager, folder)
    values = np.random.default_rng(number).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    frame = pl.DataFrame(values, schema=[f"px_{index}" for index in range(COLUMNS)])
    ready.wait(IMPORT_LIMIT_S)  # all have imported, and begin together
    with (folder / f"writer-{number}.jsonl").open("w") as lines:
        for index in range(load.partitions):
            key = f"p{number}-{index}"
            started = time.time()
            error = write_one(manager, key, frame.with_columns(pl.lit(key).alias("experiment_id")), folder)
            line = {"started": started, "ended": time.time(), "error": error}
            lines.write(json.dumps(line) + "\n")
            lines.flush()


def write_one(manager: Any, key: str, frame: pl.DataFrame, folder: Path) -> str:
    partitions = dg.StaticPartitionsDefinition([key])
    # Not dg.build_output_context: it sets up a database of its own each time, 80 ms that no run pays.
    context = dg.OutputContext(
        asset_key=dg.AssetKey(["bench", "features"]),
        asset_partitions_def=partitions,
        asset_partitions_subset=partitions.subset_with_partition_keys([key]),
        definition_metadata={"partition_expr": "experiment_id"},
        resource_config=config_of(folder),
        resources=ScopedResourcesBuilder().build(set()),
    )
    try:
        manager.handle_output(context, frame)
    except Exception as error:  # a benchmark counts failures of whatever kind
        return f"{type(error).__name__}: {error}"
    return ""


def measure(load: Load) -> Outcome:
    """Run one load on a fresh store."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ready = context.Barrier(load.processes + 1)
        workers = [context.Process(target=work, args=(load, i, folder, ready)) for i in range(load.processes)]
        for worker in workers:
            worker.start()
        ready.wait(IMPORT_LIMIT_S)
        started = time.time()
        for worker in workers:
            worker.join(max(0.1, started + load.limit_s - time.time()))
        for worker in workers:
            worker.kill()
            worker.join()
        lines = [json.loads(line) for path in folder.glob("writer-*.jsonl") for line in complete_lines(path)]
    good = [line["ended"] - line["started"] for line in lines if not line["error"]]
    wall_s = max((line["ended"] for line in lines), default=started + load.limit_s) - started
    return Outcome(good, load.processes * load.partitions - len(good), max(wall_s, 1e-9))


def complete_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` writes few partitions, to see that it runs."""
    partitions = 2 if quick else PARTITIONS
    rows: list[Row] = []
    for processes in (1, 8):
        loads = (Load(name, processes, partitions, LIMIT_S) for name in ("plain", "stock", "assay"))
        floor, stock, ours = (measure(load) for load in loads)
        writers = f"{processes} writer{'s' * (processes > 1)}"
        rows += rows_of(f"I/O manager, {writers}", processes, ours, floor)
        rows += stock_rows(f"dagster-duckdb, {writers}", stock)
    return [*rows, read_row(*((20_000, 30) if quick else (1_000_000, 30)))]


def read_row(count: int, columns: int) -> Row:
    """Return how long the manager takes to load a large table, beside Polars on the same file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = np.random.default_rng(0).normal(size=(count, columns))
        frame = pl.DataFrame(values, schema=[f"x{index}" for index in range(columns)])
        assert not write_one(make_manager("assay", folder), "p", frame, folder)
        (path,) = folder.glob("tables/*/*/*/current/*.parquet")
        manager, context = make_manager("assay", folder), input_context(folder)
        plain_s, ours_s = [], []
        for _ in range(READS):
            plain_s.append(duration(lambda: pl.scan_parquet(path).collect()))
            ours_s.append(duration(lambda: manager.load_input(context)))
    what = f"I/O manager: load a table of {count:,} x {columns}"
    return Row(what, median(ours_s), target=at_most(1.3, of="floor"), floor=median(plain_s), note="floor: scan_parquet")


def duration(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def input_context(folder: Path) -> dg.InputContext:
    partitions = dg.StaticPartitionsDefinition(["p"])
    subset = partitions.subset_with_partition_keys(["p"])
    upstream = dg.OutputContext(definition_metadata={"partition_expr": "experiment_id"})
    return dg.InputContext(
        upstream_output=upstream,
        asset_key=dg.AssetKey(["bench", "features"]),
        asset_partitions_def=partitions,
        asset_partitions_subset=subset,
        dagster_type=dg.PythonObjectDagsterType(pl.DataFrame),
        resource_config=config_of(folder),
        resources=ScopedResourcesBuilder().build(set()),
    )


def rows_of(name: str, processes: int, ours: Outcome, floor: Outcome) -> list[Row]:
    """Return our rows, beside the floor."""
    count = len(ours.durations) + ours.failed
    what = f"{count} partitions of {ROWS} x {COLUMNS}; floor: as many plain Parquet files"
    rate, slowest = at_least(LEAST_SHARE, of="floor"), at_most(SLOWEST_S[processes], of="machine")
    return [
        Row(f"{name}: writes", ours.writes_per_s, "1/s", rate, floor.writes_per_s, what),
        Row(f"{name}: failed or unfinished", ours.failed, "writes", at_most(0), note=f"of {count}"),
        Row(f"{name}: slowest write", ours.slowest_s, "s", slowest, floor.slowest_s),
    ]


def stock_rows(name: str, stock: Outcome) -> list[Row]:
    """Return what dagster-duckdb's own I/O manager does with the same partitions."""
    count = len(stock.durations) + stock.failed
    return [
        Row(f"{name}: writes", stock.writes_per_s, "1/s", note=f"the same {count} partitions in the same run"),
        Row(f"{name}: failed or unfinished", stock.failed, "writes", note=f"of {count} within {LIMIT_S:.0f} s"),
        Row(f"{name}: slowest write", stock.slowest_s),
    ]
