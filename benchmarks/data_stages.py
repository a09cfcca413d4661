"""Time of the data stages on 100 generated images of 1024x1024 and on 10,000 rows, beside the floor of each.

``python -m benchmarks.run data_stages``.
"""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE
from assay.datasets.synthetic.build import build_numbers
from assay.spec.crops import CropsSection
from assay.spec.generated_images import NumbersSource
from assay.spec.normalized import NormalizedSection
from assay.spec.splits import SplitsSection
from assay.spec.tabular import TabularSection
from assay.stages.crops import build_crops
from assay.stages.normalized import build_normalized
from assay.stages.splits import build_splits
from assay.stages.tabular import build_tabular
from assay.storage.files import write_json
from assay.storage.parquet import read_parquet, write_parquet
from assay.utils.concurrency import map_in_order, usable_cores

SEED = 42


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def stage(root: Path, name: str, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, float]:
    """Return the folder of a stage's result and the seconds that it took."""
    folder = root / name
    folder.mkdir()
    start = time.perf_counter()
    report = build(folder)
    taken = time.perf_counter() - start
    write_json(folder / "report.json", report)
    return folder, taken


def decode_all(paths: list[Path]) -> float:
    """Return the seconds that decoding alone takes, with as many threads as the stages use."""

    def decode(path: Path) -> None:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.load()

    return seconds(lambda: list(map_in_order(decode, paths, usable_cores())))


def row(name: str, taken: float, floor: float | None, target: float | None, note: str) -> dict[str, Any]:
    ratio = f"; {taken / floor:.2f} times the floor" if floor else ""
    rounded = None if floor is None else round(floor, 3)
    return {
        "benchmark": name,
        "value": round(taken, 3),
        "unit": "s",
        "target": target,
        "floor": rounded,
        "note": note + ratio,
    }


def images(root: Path, count: int) -> list[dict[str, Any]]:
    """Measure all stages on generated images."""
    spec = NumbersSource(sample_count=count, img_size={"width": 1024, "height": 1024})
    source, _ = stage(root, "source", lambda folder: build_numbers(spec, SEED, folder))
    splits, splits_s = stage(root, "splits", lambda folder: build_splits(source, SplitsSection(), SEED, folder))
    crops, crops_s = stage(root, "crops", lambda folder: build_crops(splits, CropsSection(), folder))
    tabular, tabular_s = stage(
        root, "tabular", lambda folder: build_tabular(source, splits, crops, TabularSection(), folder)
    )
    _, normalized_s = stage(root, "normalized", lambda folder: build_normalized(tabular, NormalizedSection(), folder))
    items, cut = read_parquet(splits / ITEMS_FILE), read_parquet(crops / CROPS_FILE)
    whole_s = decode_all([splits / file for file in items["file"]])
    cut_s = decode_all([crops / file for file in cut["file"]])
    size = f"{count} images 1024x1024"
    return [
        row(f"splits: {size}", splits_s, None, 0.45, "hard links"),
        row(f"crops: {size}", crops_s, whole_s, 2.74, f"{len(cut)} crops; floor: decoding the images"),
        row(f"tabular: {len(cut)} crops", tabular_s, cut_s, 0.28, "floor: decoding the crops"),
        row(f"normalized: {len(cut)} rows", normalized_s, None, 0.37, "100 columns"),
    ]


def write_crops(root: Path, count: int) -> tuple[Path, Path]:
    """Write results of ``splits`` and ``crops`` with ``count`` crops of 64x64 pixels; return both folders."""
    splits, crops = root / "many-splits", root / "many-crops"
    pictures = np.random.default_rng(SEED).integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)
    for folder in (splits, crops / "train"):
        folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(pictures[index % len(pictures)]).save(crops / "train" / f"{index:06d}.png", compress_level=1)
    names = pl.Series("item", [f"{index:06d}" for index in range(count)])
    number = pl.int_range(count, dtype=pl.Int64) % 10
    subset = (
        pl.when(number < 7).then(pl.lit("train")).when(number < 8).then(pl.lit("validation")).otherwise(pl.lit("test"))
    )
    frame = pl.DataFrame([names]).with_columns(
        image="item",
        subset=subset,
        label=number.cast(pl.String),
        number=number.cast(pl.Float64),
        file=pl.format("train/{}.png", "item"),
    )
    write_parquet(frame, crops / CROPS_FILE)
    write_parquet(
        frame.select("item", "file", "subset", folder=pl.lit(""), given_subset=pl.lit(None, pl.String)),
        splits / ITEMS_FILE,
    )
    return splits, crops


def rows(root: Path, count: int) -> list[dict[str, Any]]:
    """Measure the two stages of tables, and the division of a table, on many rows."""
    splits, crops = write_crops(root, count)
    tabular, tabular_s = stage(
        root, "many-tabular", lambda folder: build_tabular(root, splits, crops, TabularSection(), folder)
    )
    _, normalized_s = stage(
        root, "many-normalized", lambda folder: build_normalized(tabular, NormalizedSection(), folder)
    )
    table = read_parquet(tabular / "tabular.parquet")
    write_s = seconds(lambda: write_parquet(table, root / "written.parquet"))
    decode_s = decode_all(sorted((crops / "train").glob("*.png")))
    source, many_s = index_rows(root, count)
    _, splits_s = stage(root, "row-splits", lambda folder: build_splits(source, SplitsSection(), SEED, folder))
    return [
        row(f"splits: {count} rows of a table", splits_s, many_s, 1.0, "floor: writing the index"),
        row(
            f"tabular: {count} crops 64x64",
            tabular_s,
            decode_s + write_s,
            5.0,
            "floor: decoding, and writing the table",
        ),
        row(f"normalized: {count} rows x 100 columns", normalized_s, write_s, 1.0, "floor: writing the table"),
    ]


def index_rows(root: Path, count: int) -> tuple[Path, float]:
    """Write the index of a table; return its folder and the seconds that it took."""
    folder = root / "row-source"
    folder.mkdir()
    names = [f"{index:09d}" for index in range(count)]
    none = pl.lit(None, pl.String)
    items = pl.DataFrame({"item": names, "sha256": names}).with_columns(label=none, given_subset=none, given_group=none)
    return folder, seconds(lambda: write_parquet(items, folder / ITEMS_FILE))


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Return one row per benchmark; targets of the image stages are the reference's times for the same work."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return images(root, 10 if quick else 100) + rows(root, 200 if quick else 10_000)
