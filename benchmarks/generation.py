"""Generation of number images: images per second beside the floor (encode and write alone), and peak memory."""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from assay.datasets.synthetic.build import build_numbers
from assay.datasets.synthetic.picture import NumberPainter
from assay.images.png import encode_png
from assay.spec.generated_images import NumbersSource
from assay.utils.concurrency import map_in_order, silent
from benchmarks.rows import Row, at_least, at_most
from benchmarks.timing import seconds

SEED = 42
PAINTED = 20
"""Different images that are encoded again and again: painting them is no part of what is timed."""

LEAST_SHARES = {25: 0.25, 100: 0.33}
"""Of the floor's images per second, by number of images: the first ones wait for fonts and photos."""


def spec_of(count: int) -> NumbersSource:
    return NumbersSource(sample_count=count, img_size={"width": 1024, "height": 1024})


def encode_and_write(count: int, workers: int, folder: Path) -> float:
    """Return the seconds per image of what no generator can avoid: encoding images and masks and writing them."""
    painter = NumberPainter(spec_of(count), SEED)
    pictures = [painter.paint(index) for index in range(min(count, PAINTED))]

    def write(index: int) -> None:
        picture = pictures[index % len(pictures)]
        for kind, image in (("image", picture.image), ("mask", picture.mask)):
            (folder / f"{kind}{index}.png").write_bytes(encode_png(image))

    return seconds(lambda: list(map_in_order(write, range(count), workers))) / count


def speed(count: int, workers: int) -> Row:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as floor_folder:
        floor = encode_and_write(count, workers, Path(floor_folder))
        taken = seconds(lambda: build_numbers(spec_of(count), SEED, Path(folder), silent, workers)) / count
    return Row(
        f"generate {count} images 1024x1024, {workers} worker{'s' * (workers > 1)}",
        round(1 / taken, 1),
        "images/s",
        at_least(LEAST_SHARES.get(count, 0.0), of="floor"),
        round(1 / floor, 1),
        f"{taken * count:.2f} s; floor: encoding and writing as many; {taken / floor:.2f} times as long",
    )


def encoding() -> Row:
    """Compare the PNG writer with Pillow's at its fastest level, one core, encoding alone."""
    painter = NumberPainter(spec_of(1), SEED)
    images = [painter.paint(index).image for index in range(PAINTED)]
    own = seconds(lambda: [encode_png(image) for image in images]) / len(images)
    pillow = seconds(lambda: [image.save(io.BytesIO(), "PNG", compress_level=1) for image in images]) / len(images)
    return Row(
        "encode a PNG 1024x1024, 1 core, times as fast as Pillow at level 1",
        pillow / own,
        "x",
        at_least(1.65),
        note=f"{1 / own:.1f} images/s and {1 / pillow:.1f} images/s",
    )


def peak_memory(count: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.generation", "--peak", str(count)]
    here = Path(__file__).parents[1]
    told = json.loads(subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout)
    return Row(
        f"peak memory of {count} images 1024x1024",
        told["peak_mb"],
        "MB",
        at_most(350),
        note=f"{told['seconds']:.1f} s, own process, all cores",
    )


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


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few images, to see that it runs."""
    counts = (5,) if quick else (25, 100)
    memory_counts = (5,) if quick else (100, 400)
    rows = [speed(count, workers) for count in counts for workers in (1, 2)]
    return [*rows, encoding(), *(peak_memory(count) for count in memory_counts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", type=int, required=True, help="images to generate, to measure this process's memory")
    print(json.dumps(measure_own_peak(parser.parse_args().peak)))


if __name__ == "__main__":
    main()
