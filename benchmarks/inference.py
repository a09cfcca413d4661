"""Using a model: `assay predict` on 1,000 pictures from the start of its process, and beside bare onnxruntime.

Both sides of the comparison get the same decoded pictures in memory: ``model.predict`` of arrays, and the exported
graph with its pre- and post-processing, in batches of pictures of one size.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import assay
from assay.inference.export import export_model
from assay.inference.model import Model
from benchmarks.rows import Row, at_most
from benchmarks.timing import seconds
from tests.helpers.trained import FAMILIES, TrainedProject, make_trained_project

WIDTH, HEIGHT = 320, 240

PEAK = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, "
    "stderr=subprocess.DEVNULL).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024); sys.exit(code)"
)


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few pictures, to see that it runs."""
    count, repeats = (40, 1) if quick else (1_000, 3)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        chosen = {each: FAMILIES[each] for each in ("softmax", "detection")}
        project = make_trained_project(folder, chosen)
        project.enter(patch)
        photos, many = folder / "photos", folder / "many"
        write_photos(photos, count)
        write_photos(many, 4 * count)
        rows = [Row("import assay and load a model", import_s(project, repeats), target=at_most(3.0, of="machine"))]
        for task, most in (("softmax", 6.0), ("detection", 15.0)):
            predict_s, peak_mb = command(project, task, photos, repeats)
            _, peak_many_mb = command(project, task, many, 1)
            what = f"{count:,} JPEGs of {WIDTH}x{HEIGHT}, process start included"
            rows += [
                Row(f"predict: {task}", predict_s, target=at_most(most, of="machine"), note=what),
                Row(
                    f"predict: {task}, memory for four times as many pictures",
                    peak_many_mb / peak_mb,
                    "x",
                    at_most(1.15),
                    note=f"{peak_mb:.0f} MB for {count:,}",
                ),
            ]
        rows += [beside_onnxruntime(assay.load_model(task), folder, count, repeats) for task in chosen]
    return rows


def write_photos(folder: Path, count: int) -> None:
    """Write pictures with some structure, in folders of 100."""
    rng = np.random.default_rng(0)
    for place in range(count):
        path = folder / f"{place // 100:03}" / f"{place:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=90)


def import_s(project: TrainedProject, repeats: int) -> float:
    """Return how long a program waits until it has a model."""
    code = "import assay; assay.load_model('softmax')"
    return seconds(lambda: subprocess.run([sys.executable, "-c", code], cwd=project.folder, check=True), repeats)


def command(project: TrainedProject, task: str, photos: Path, repeats: int) -> tuple[float, float]:
    """Return the time of `assay predict` in seconds, and its peak memory in MB."""
    program = str(Path(sys.executable).with_name("assay"))
    arguments = [program, "predict", task, str(photos), "--out", str(project.folder / "out.csv"), "--overwrite"]
    times, peaks = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments], env=os.environ, capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - started)
        peaks.append(float(done.stdout))
    return sorted(times)[len(times) // 2], max(peaks)


def beside_onnxruntime(model: Model, folder: Path, count: int, repeats: int) -> Row:
    """Return the time of ``model.predict`` of decoded pictures, as a multiple of bare onnxruntime's."""
    import onnxruntime

    place = folder / f"onnx-{model.task}"
    export_model(model, "onnx", place)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = model.stored.card.section.train_params.threads
    session = onnxruntime.InferenceSession(place / "model.onnx", options, providers=["CPUExecutionProvider"])
    pictures = [np.asarray(Image.open(path)) for path in sorted((folder / "photos").rglob("*.jpg"))[:count]]
    size = 1 if model.stored.card.inputs.view == "images" else 64
    plain = model.with_network(model.loaded.network)

    def bare() -> Any:
        return [session.run(None, {"images": np.stack(pictures[at : at + size])}) for at in range(0, count, size)]

    bare(), plain.predict(pictures)
    ours, theirs = seconds(lambda: plain.predict(pictures), repeats), seconds(bare, repeats)
    note = f"{count:,} decoded pictures: {ours:.2f} s, onnxruntime {theirs:.2f} s in batches of {size}, both in float32"
    return Row(f"predict: {model.task} beside bare onnxruntime", ours / theirs, "x", at_most(1.5), note=note)
