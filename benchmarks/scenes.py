"""Segmentation and detection on 100 images of 1024x1024, as a user starts them: wall time, memory, what is learned.

Two epochs, as the op-based pipeline was measured; a step there saw two whole images, here it sees sixteen windows of
128x128 around objects, so two epochs have fewer pixels and far more objects.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from assay.storage.parquet import read_parquet
from benchmarks.runs import Bench, Timing, numbers

EPOCHS = 2
STEPS = {"segmentation": 45, "detection": 150}
"""Steps per epoch."""
FORMER_S = {"segmentation": 250, "detection": 1430}
"""What the op-based pipeline took, in seconds."""
SHOWN = {"segmentation": "foreground_iou", "detection": "map50"}
MOST_MB = 1500


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; ``quick`` takes small images, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        return [row for task in STEPS for row in _rows(bench, task, quick)]


def _rows(bench: Bench, task: str, quick: bool) -> list[dict[str, Any]]:
    params = {"epochs": EPOCHS, "steps_per_epoch": 2 if quick else STEPS[task]}
    bench.write(
        task,
        task=task,
        generated_images=numbers(20 if quick else 100, 256 if quick else 1024),
        trained_model={"train_params": params},
    )
    bench.time("assay", "run", task, "--job", "job_data_generation")
    timing = bench.time("assay", "run", task, "--job", "job_train")
    former = FORMER_S[task]
    name = f"job_train, {task}, 100 images 1024x1024, {EPOCHS} epochs"
    note = f"op-based pipeline: {former} s, {former / timing.wall_s:.0f} x as long; {_learned(bench, task)}"
    memory = {"benchmark": f"{name}: peak memory", "value": timing.peak_mb, "unit": "MB", "target": MOST_MB}
    return [_row(name, timing, former / 10, note), {**memory, "floor": None, "note": "images, masks, network"}]


def _learned(bench: Bench, task: str) -> str:
    """Say how the loss fell and what the test shows."""
    (history,) = (bench.folder / "storage").rglob(f"{_result(bench, task, 'trained_model')}/training_history.parquet")
    losses = read_parquet(history).filter((pl.col("subset") == "train") & (pl.col("metric") == "loss"))["value"]
    (analysis,) = (bench.folder / "storage").rglob(f"{_result(bench, task, 'analysis')}/analysis.parquet")
    table = read_parquet(analysis).filter((pl.col("subset") == "test") & (pl.col("metric") == SHOWN[task]))
    value, baseline = table.select("value", "baseline").row(0)
    return f"loss {losses[0]:.2f} to {losses[-1]:.2f}, {SHOWN[task]} {value:.2f} (trivial prediction {baseline:.2f})"


def _result(bench: Bench, task: str, stage: str) -> str:
    """Return the fingerprint of an experiment's result."""
    (manifest,) = (bench.folder / "storage" / "experiments").glob(f"*-id_{task}/manifest.json")
    return str(json.loads(manifest.read_text())["results"][stage])


def _row(name: str, timing: Timing, target: float, note: str) -> dict[str, Any]:
    return {"benchmark": name, "value": timing.wall_s, "unit": "s", "target": target, "floor": None, "note": note}
