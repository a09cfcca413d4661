"""Whole jobs as a user starts them: `assay run`, one process each, wall time and peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.spec.yaml_text import to_yaml

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


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; ``quick`` takes small images, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        start = bench.time("python", "-c", "import definitions")
        rows = [_row("process start and loading the definitions", start, None, "floor of every run")]
        rows += _data_generation(bench, quick)
        rows += _training(bench, start)
        rows += [_row("assay validate, 200 specs", _validate(bench), 1.0)]
    return rows


def _data_generation(bench: Bench, quick: bool) -> list[dict[str, Any]]:
    side = 128 if quick else 1024
    rows = []
    for count, target, reference in ((100, 8.0, 81), (400, 25.0, 238)):
        count = count // 20 if quick else count
        bench.write(f"images{count}", task="regression", generated_images=numbers(count, side))
        timing = bench.time("assay", "run", f"images{count}", "--job", "job_data_generation")
        note = f"op-based pipeline: {reference} s; peak {timing.peak_mb:.0f} MB, {timing.cpu_s:.1f} CPU s"
        rows.append(_row(f"job_data_generation, {count} images {side}x{side}", timing, target, note))
    return rows


def _training(bench: Bench, start: Timing) -> list[dict[str, Any]]:
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
    note = f"op-based pipeline: 73 s; {train.wall_s / start.wall_s:.1f} x the floor"
    return [
        _row("job_train, 140 training rows, 2 epochs", train, 7.0, note, floor=start.wall_s),
        _row("a second experiment that differs in training only", second, None, added, floor=start.wall_s),
        _row("the same again, everything found", again, None, "overhead of a run", floor=start.wall_s),
    ]


def _validate(bench: Bench) -> Timing:
    for number in range(200):
        bench.write(f"x{number}", task="classification", seed=number, generated_images=numbers(100, 256))
    return bench.time("assay", "validate")


def _row(name: str, timing: Timing, target: float | None, note: str = "", floor: float | None = None) -> dict[str, Any]:
    return {"benchmark": name, "value": timing.wall_s, "unit": "s", "target": target, "floor": floor, "note": note}


if __name__ == "__main__":
    from benchmarks.run import table

    print(table(run(quick="--quick" in sys.argv)))
