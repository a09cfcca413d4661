"""Whole jobs as a user starts them: `assay run`, one process each, wall time and peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from assay.spec.yaml_text import to_yaml
from benchmarks.op_based import DATA_GENERATION_S, TRAINING_S, op_based
from benchmarks.rows import Row, Target, at_most

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Timing:
    """What one process cost: wall and CPU seconds, and the most memory that it held, in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float


class Bench:
    """A project in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
        self._environment = {
            **os.environ,
            "ASSAY_STORAGE": str(folder / "storage"),
            "ASSAY_EXPERIMENTS": str(folder / "experiments"),
            "DAGSTER_HOME": str(home),
        }

    def write(self, experiment_id: str, **keys: Any) -> None:
        """Write a spec file."""
        path = self.folder / "experiments" / f"{experiment_id}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml(keys))

    def time(self, *command: str) -> Timing:
        """Run a program to its end.

        Raises:
            RuntimeError: It failed; with its output.
        """
        with tempfile.TemporaryFile("w+") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=self._environment, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                output.seek(0)
                raise RuntimeError(f"{' '.join(command)}: {output.read()[-2000:]}")
        return Timing(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

    def stored_bytes(self) -> int:
        """Return the bytes of all data results."""
        files = (self.folder / "storage" / "data").rglob("*")
        return sum(path.stat().st_size for path in files if path.is_file())


def numbers(count: int, side: int) -> dict[str, Any]:
    """Return the source of ``count`` square images."""
    return {"source": {"kind": "numbers", "sample_count": count, "img_size": {"width": side, "height": side}}}


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes small images, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        start_s = median(bench.time("python", "-c", "import definitions").wall_s for _ in range(3))
        return [
            _row(
                "process start and loading the definitions", start_s, at_most(2.4, of="machine"), "what every run pays"
            ),
            *_data_generation(bench, quick),
            *_training(bench, start_s),
            _validation(bench),
        ]


def _data_generation(bench: Bench, quick: bool) -> list[Row]:
    rows = []
    for count, most_s in ((5, 0.0), (20, 0.0)) if quick else ((100, 9.7), (400, 24.0)):
        side = 256 if quick else 1024
        bench.write(f"images{count}", task="regression", generated_images=numbers(count, side))
        timing = bench.time("assay", "run", f"images{count}", "--job", "job_data_generation")
        name = f"job_data_generation, {count} images {side}x{side}"
        note = f"peak {timing.peak_mb:.0f} MB, {timing.cpu_s:.1f} CPU s"
        rows.append(_row(name, timing.wall_s, at_most(most_s, of="machine"), note))
        if count in DATA_GENERATION_S:
            rows.append(op_based(name, DATA_GENERATION_S[count]))
    return rows


def _training(bench: Bench, start_s: float) -> list[Row]:
    """Measure trainings so short that the rest of a run is what they show, beside a process that only starts."""
    table = bench.folder / "rows.csv"
    table.write_text("a,b,y\n" + "".join(f"{i % 17},{i % 5},{i % 17 + 2 * (i % 5)}\n" for i in range(200)))
    source = {"source": {"kind": "table", "path": str(table), "target_column": "y"}}
    params = {"train_params": {"epochs": 2}}
    bench.write("first", task="regression", generated_images=source, trained_model=params)
    bench.time("assay", "run", "first", "--job", "job_data_generation")
    train = bench.time("assay", "run", "first", "--job", "job_train")
    bench.write("second", task="regression", generated_images=source, trained_model={"train_params": {"epochs": 3}})
    before = bench.stored_bytes()
    second = bench.time("assay", "run", "second")
    again = bench.time("assay", "run", "second")
    added = f"{(bench.stored_bytes() - before) / 1e3:.0f} kB stored: model, predictions and analysis only"
    floor = "floor: process start and loading the definitions"
    return [
        _row("job_train, 140 training rows, 2 epochs", train.wall_s, at_most(4.3, of="floor"), floor, start_s),
        op_based("job_train, 137 training rows, 2 epochs", TRAINING_S),
        _row("a second experiment that differs in training only", second.wall_s, at_most(5.0, "floor"), added, start_s),
        _row("the same again, everything found", again.wall_s, at_most(3.1, of="floor"), floor, start_s),
    ]


def _validation(bench: Bench) -> Row:
    for number in range(200):
        bench.write(f"x{number}", task="classification", seed=number, generated_images=numbers(100, 256))
    count = len(list((bench.folder / "experiments").iterdir()))
    wall_s = median(bench.time("assay", "validate").wall_s for _ in range(3))
    return _row(f"assay validate, {count} specs", wall_s, at_most(0.46, of="machine"), "median of three")


def _row(name: str, wall_s: float, target: Target, note: str = "", floor: float | None = None) -> Row:
    return Row(name, wall_s, target=target, floor=floor, note=note)
