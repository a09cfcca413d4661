"""The I/O manager under 1 and 8 writing processes, beside dagster-duckdb's own in the same run.

``python -m benchmarks.io_manager [--quick]`` prints a Markdown table.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
from dagster._core.definitions.resource_definition import ScopedResourcesBuilder
from dagster._core.storage.db_io_manager import DbTypeHandler
from dagster_duckdb import DuckDBIOManager

from benchmarks.run import table
from resources.io_managers import DuckDBParquetIOManager

ROWS, COLUMNS = 500, 100
START_DELAY_S = 6.0
"""Workers import first and begin together."""


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
    if name == "assay":
        return DuckDBParquetIOManager(root=str(folder))
    config = {"database": str(folder / "stock.duckdb"), "connection_config": {}}
    context = dg.build_init_resource_context(config=config)
    return StockIOManager(**config).create_io_manager(context)


def work(load: Load, number: int, folder: Path, start_at: float) -> None:
    """Write every partition of one process, and a line about each."""
    manager = make_manager(load.manager, folder)
    values = np.random.default_rng(number).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    frame = pl.DataFrame(values, schema=[f"px_{index}" for index in range(COLUMNS)])
    time.sleep(max(0.0, start_at - time.time()))
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
        resource_config={"database": str(folder / "stock.duckdb"), "connection_config": {}},
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
        start_at = time.time() + START_DELAY_S
        workers = [context.Process(target=work, args=(load, i, folder, start_at)) for i in range(load.processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.1, start_at + load.limit_s - time.time()))
        for worker in workers:
            worker.kill()
            worker.join()
        lines = [json.loads(line) for path in folder.glob("writer-*.jsonl") for line in complete_lines(path)]
    good = [line["ended"] - line["started"] for line in lines if not line["error"]]
    wall_s = max((line["ended"] for line in lines), default=start_at + load.limit_s) - start_at
    return Outcome(good, load.processes * load.partitions - len(good), max(wall_s, 1e-9))


def complete_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Return the figures of both managers under 1 and 8 writers."""
    ours, stock, limit_s = (10, 3, 15.0) if quick else (75, 10, 60.0)
    rows: list[dict[str, Any]] = []
    for processes in (1, 8):
        stock_outcome = measure(Load("stock", processes, stock, limit_s))
        outcome = measure(Load("assay", processes, ours, 120.0))
        rows += rows_of(f"I/O manager, {processes} writers", outcome, stock_outcome, processes == 8)
    return rows


def rows_of(name: str, ours: Outcome, stock: Outcome, has_target: bool) -> list[dict[str, Any]]:
    total = len(ours.durations) + ours.failed
    stock_total = len(stock.durations) + stock.failed
    beside = "dagster-duckdb in the same run:"
    what = f"{total} partitions of {ROWS} x {COLUMNS}; {beside}"
    figures = [
        ("writes", ours.writes_per_s, "1/s", 40, f"{what} {stock.writes_per_s:.1f} 1/s"),
        (
            "failed",
            ours.failed,
            "writes",
            0,
            f"of {total}; {beside} {stock.failed} of {stock_total} failed or unfinished",
        ),
        ("slowest write", ours.slowest_s, "s", 0.5, f"{beside} {stock.slowest_s:.2f} s"),
    ]
    return [
        {
            "benchmark": f"{name}: {figure}",
            "value": round(value, 3),
            "unit": unit,
            "target": target if has_target else None,
            "floor": None,
            "note": note,
        }
        for figure, value, unit, target, note in figures
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(table(run(parser.parse_args().quick)))
