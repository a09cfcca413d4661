"""Segmentation and detection on 100 images of 1024x1024, as a user starts them: wall time, memory, what is learned.

Two epochs, as the op-based pipeline ran, whose figures are of another day and extrapolated. It is the same job with the
defaults of each, not the same arithmetic: a step there saw two whole images, here it sees sixteen windows of 128x128
around objects, so two epochs have fewer pixels and far more objects.
"""

import json
import tempfile
from pathlib import Path

import polars as pl

from assay.storage.parquet import read_parquet
from benchmarks.op_based import EXTRAPOLATED, WHOLE_IMAGES_S, op_based
from benchmarks.rows import Row, at_most
from benchmarks.runs import Bench, numbers

EPOCHS = 2
STEPS = {"segmentation": 45, "detection": 150}
"""Steps per epoch."""
SHOWN = {"segmentation": "foreground_iou", "detection": "map50"}
MOST_S = {"segmentation": 29.0, "detection": 47.0}
MOST_MB = {"segmentation": 1600, "detection": 1300}


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes small images, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        return [row for task in STEPS for row in _rows(bench, task, quick)]


def _rows(bench: Bench, task: str, quick: bool) -> list[Row]:
    count, side = (20, 256) if quick else (100, 1024)
    params = {"epochs": EPOCHS, "steps_per_epoch": 2 if quick else STEPS[task]}
    bench.write(
        task,
        task=task,
        generated_images=numbers(count, side),
        trained_model={"train_params": params},
    )
    bench.time("assay", "run", task, "--job", "job_data_generation")
    timing = bench.time("assay", "run", task, "--job", "job_train")
    name = f"job_train, {task}, {count} images {side}x{side}, {EPOCHS} epochs"
    memory = at_most(MOST_MB[task])
    rows = [
        Row(name, timing.wall_s, target=at_most(MOST_S[task], of="machine"), note=_learned(bench, task)),
        Row(f"{name}: peak memory", timing.peak_mb, "MB", memory, note="images, masks, network"),
    ]
    return rows if quick else [*rows, op_based(name, WHOLE_IMAGES_S[task], "with its defaults", EXTRAPOLATED)]


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
