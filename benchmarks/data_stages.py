"""Time of the data stages on 100 generated images of 1024x1024 and on 10,000 rows, beside the floor of each.

A floor reads and writes the same files: it decodes what the stage decodes and writes what the stage has written.
"""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE
from assay.datasets.synthetic.build import build_numbers
from assay.images.png import encode_png
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
from assay.storage.parquet import read_parquet, scan_parquet, write_parquet
from assay.utils.concurrency import map_in_order, usable_cores
from benchmarks.op_based import STAGES_S, op_based
from benchmarks.rows import Row, at_most
from benchmarks.timing import seconds

SEED = 42
REPEATS = 3
TABULAR_FILE, NORMALIZED_FILE = "tabular.parquet", "normalized.parquet"


def stage(root: Path, name: str, build: Callable[[Path], dict[str, Any]]) -> tuple[Path, float]:
    """Build a stage's result a few times; returns the folder of one and the median of the seconds."""
    folders = [root / f"{name}-{number}" for number in range(REPEATS)]
    new = iter(folders)

    def once() -> None:
        folder = next(new)
        folder.mkdir()
        write_json(folder / "report.json", build(folder))

    return folders[-1], seconds(once, REPEATS)


def decode_all(paths: list[Path]) -> float:
    """Return the seconds that decoding alone takes, with as many threads as the stages use."""

    def decode(path: Path) -> None:
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            image.load()

    return seconds(lambda: list(map_in_order(decode, paths, usable_cores())), REPEATS)


def encode_all(paths: list[Path], folder: Path) -> float:
    """Return the seconds that encoding and writing images takes which are in memory."""
    folder.mkdir()
    pictures = [Image.open(path).copy() for path in paths]

    def encode(index: int) -> None:
        (folder / f"{index}.png").write_bytes(encode_png(pictures[index]))

    return seconds(lambda: list(map_in_order(encode, range(len(paths)), usable_cores())), REPEATS)


def link_all(source: Path, root: Path) -> float:
    """Return the seconds that hard links to all files below a folder take."""
    files = [path for path in source.rglob("*.png") if path.is_file()]

    def link() -> None:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            for index, file in enumerate(files):
                (Path(folder) / f"{index}.png").hardlink_to(file)

    return seconds(link, REPEATS)


def copy_tables(source: Path, *written: Path) -> float:
    """Return the seconds that reading one table and writing others takes."""
    tables = [read_parquet(path) for path in written]

    def copy() -> None:
        read_parquet(source)
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            for index, table in enumerate(tables):
                write_parquet(table, Path(folder) / f"{index}.parquet")

    return seconds(copy, REPEATS)


def row(name: str, taken: float, most: float, floor: float, note: str) -> Row:
    """Return a stage's time, which may be ``most`` times the floor."""
    return Row(name, taken, target=at_most(most, of="floor"), floor=floor, note=f"{note}; {taken / floor:.2f} times")


def images(root: Path, count: int) -> list[Row]:
    """Measure all stages on generated images."""
    spec = NumbersSource(sample_count=count, img_size={"width": 1024, "height": 1024})
    source = root / "source"
    source.mkdir()
    write_json(source / "report.json", build_numbers(spec, SEED, source))
    splits, splits_s = stage(root, "splits", lambda folder: build_splits(source, SplitsSection(), SEED, folder))
    crops, crops_s = stage(root, "crops", lambda folder: build_crops(splits, CropsSection(), folder))
    tabular, tabular_s = stage(
        root, "tabular", lambda folder: build_tabular(source, splits, crops, TabularSection(), folder)
    )
    normalized, normalized_s = stage(
        root,
        "normalized",
        lambda folder: build_normalized(scan_parquet(tabular / TABULAR_FILE), tabular, NormalizedSection(), folder),
    )
    whole = [splits / file for file in read_parquet(splits / ITEMS_FILE)["file"]]
    cut = [crops / file for file in read_parquet(crops / CROPS_FILE)["file"]]
    link_s = link_all(splits, root) + copy_tables(source / ITEMS_FILE, splits / ITEMS_FILE)
    crop_s = decode_all(whole) + encode_all(cut, root / "encoded")
    table_s = decode_all(cut) + copy_tables(crops / CROPS_FILE, tabular / TABULAR_FILE)
    copy_s = copy_tables(tabular / TABULAR_FILE, normalized / NORMALIZED_FILE)
    size = f"{count} images 1024x1024"
    return [
        row(f"splits: {size}", splits_s, 6.0, link_s, "floor: the links and the index"),
        row(f"crops: {size}", crops_s, 1.7, crop_s, f"{len(cut)} crops; floor: decoding images, writing crops"),
        row(f"tabular: {len(cut)} crops", tabular_s, 2.3, table_s, "floor: decoding the crops, writing the table"),
        row(f"normalized: {len(cut)} rows", normalized_s, 6.4, copy_s, "100 columns; floor: reading and writing them"),
        *(op_based(f"{name}, {size}", STAGES_S[name]) for name in STAGES_S if count == 100),
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


def rows(root: Path, count: int) -> list[Row]:
    """Measure the two stages of tables, and the division of a table, on many rows."""
    splits, crops = write_crops(root, count)
    tabular, tabular_s = stage(
        root, "many-tabular", lambda folder: build_tabular(root, splits, crops, TabularSection(), folder)
    )
    normalized, normalized_s = stage(
        root,
        "many-normalized",
        lambda folder: build_normalized(scan_parquet(tabular / TABULAR_FILE), tabular, NormalizedSection(), folder),
    )
    table_s = decode_all(sorted((crops / "train").glob("*.png")))
    table_s += copy_tables(crops / CROPS_FILE, tabular / TABULAR_FILE)
    copy_s = copy_tables(tabular / TABULAR_FILE, normalized / NORMALIZED_FILE)
    source = index_rows(root, count)
    divided, splits_s = stage(root, "row-splits", lambda folder: build_splits(source, SplitsSection(), SEED, folder))
    index_s = copy_tables(source / ITEMS_FILE, divided / ITEMS_FILE)
    return [
        row(f"splits: {count} rows of a table", splits_s, 8.2, index_s, "floor: reading and writing the index"),
        row(f"tabular: {count} crops 64x64", tabular_s, 2.1, table_s, "floor: decoding the crops, writing the table"),
        row(f"normalized: {count} rows x 100 columns", normalized_s, 4.3, copy_s, "floor: reading and writing them"),
    ]


def index_rows(root: Path, count: int) -> Path:
    """Write the index of a table and return its folder."""
    folder = root / "row-source"
    folder.mkdir()
    names = [f"{index:09d}" for index in range(count)]
    none = pl.lit(None, pl.String)
    items = pl.DataFrame({"item": names, "sha256": names}).with_columns(label=none, given_subset=none, given_group=none)
    write_parquet(items, folder / ITEMS_FILE)
    return folder


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few images and rows, to see that it runs."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return images(root, 10 if quick else 100) + rows(root, 200 if quick else 10_000)
