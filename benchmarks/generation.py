"""Generation of number images: images per second beside the floor (encode and write alone), and peak memory.

``python -m benchmarks.generation [--quick]`` prints a table.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from assay.datasets.synthetic.build import build_numbers
from assay.datasets.synthetic.picture import NumberPainter
from assay.images.png import encode_png
from assay.spec.generated_images import NumbersSource
from assay.utils.concurrency import map_in_order, silent
from benchmarks.run import table

SEED = 42
FLOOR_IMAGES = 20


def spec_of(count: int) -> NumbersSource:
    return NumbersSource(sample_count=count, img_size={"width": 1024, "height": 1024})


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def encode_and_write(count: int, workers: int, folder: Path) -> float:
    """Return the seconds per image of what no generator can avoid: encoding images and masks and writing them."""
    painter = NumberPainter(spec_of(count), SEED)
    pictures = [painter.paint(index) for index in range(min(count, FLOOR_IMAGES))]

    def write(index: int) -> None:
        for kind, image in (("image", pictures[index].image), ("mask", pictures[index].mask)):
            (folder / f"{kind}{index}.png").write_bytes(encode_png(image))

    return seconds(lambda: list(map_in_order(write, range(len(pictures)), workers))) / len(pictures)


def speed(count: int, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as floor_folder:
        floor = encode_and_write(count, workers, Path(floor_folder))
        taken = seconds(lambda: build_numbers(spec_of(count), SEED, Path(folder), silent, workers)) / count
    return {
        "benchmark": f"generate {count} images 1024x1024, {workers} worker{'s' * (workers > 1)}",
        "value": round(1 / taken, 1),
        "unit": "images/s",
        "target": 22.2 if (count, workers) == (100, 2) else None,
        "floor": round(1 / floor, 1),
        "note": f"{taken * count:.2f} s; {taken / floor:.2f} times the floor (encode and write)",
    }


def encoding() -> dict[str, Any]:
    """Compare the PNG writer with Pillow's at its fastest level, one core, encoding alone."""
    painter = NumberPainter(spec_of(1), SEED)
    images = [painter.paint(index).image for index in range(FLOOR_IMAGES)]
    own = seconds(lambda: [encode_png(image) for image in images]) / len(images)
    pillow = seconds(lambda: [image.save(io.BytesIO(), "PNG", compress_level=1) for image in images]) / len(images)
    return {
        "benchmark": "encode a PNG 1024x1024, 1 core",
        "value": round(1 / own, 1),
        "unit": "images/s",
        "target": None,
        "floor": None,
        "note": f"Pillow at level 1: {1 / pillow:.1f} images/s, so {pillow / own:.2f} times as fast",
    }


def peak_memory(count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.generation", "--peak", str(count)]
    here = Path(__file__).parents[1]
    told = json.loads(subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout)
    return {
        "benchmark": f"peak memory of {count} images 1024x1024",
        "value": told["peak_mb"],
        "unit": "MB",
        "target": 600,
        "floor": None,
        "note": f"{told['seconds']:.1f} s, own process, all cores",
    }


def measure_own_peak(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        taken = seconds(lambda: build_numbers(spec_of(count), SEED, Path(folder)))
    return {"seconds": taken, "peak_mb": own_peak_mb()}


def own_peak_mb() -> int:
    """Return this process's peak memory; Linux's getrusage would count the process that started it as well."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) // 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20  # macOS counts bytes


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Return one row per benchmark: benchmark, value, unit, target, floor, note."""
    counts = (25,) if quick else (25, 100)
    memory_counts = (25, 50) if quick else (100, 400)
    rows = [speed(count, workers) for count in counts for workers in (1, 2)]
    return [*rows, encoding(), *(peak_memory(count) for count in memory_counts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(json.dumps(measure_own_peak(arguments.peak)))
    else:
        print(table(run(arguments.quick)))


if __name__ == "__main__":
    main()
