"""Class folders for the campaign of tables and folders: layouts whose right classes and subsets are known.

Belongs here: making folders, reading them, comparing. Does not belong here: choosing a seed's input (``tables``).
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
from PIL import Image

from assay.datasets.fingerprints import source_digest
from assay.datasets.image_folder import build_image_folder
from assay.datasets.inspection import subset_of
from assay.errors import AssayError
from assay.spec.generated_images import ImageFolderSource

SHORTEST_MESSAGE, LONGEST_MESSAGE = 20, 6000

CLASSES = ("cat", "dog", "none")
SUBSETS = {
    "train": ("train", "Training", "TRAIN", "train_images", "seg_train", "Train Set"),
    "validation": ("val", "Valid", "validation", "dev", "Eval", "VAL-SET"),
    "test": ("test", "Testing", "TEST", "holdout", "Hold-Out", "test_images"),
}
NO_DATA = (
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    ".ipynb_checkpoints",
    "__MACOSX",
)
Layout = dict[str, tuple[str, str | None]]
"""Class and subset by path."""


def paint(rng: random.Random, path: Path, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.frombytes("RGB", (4, 4), rng.randbytes(48)).save(path, format=kind)


def classes_alone(rng: random.Random, root: Path) -> tuple[Layout, str]:
    endings = {
        ".png": "PNG",
        ".jfif": "JPEG",
        ".JPE": "JPEG",
        ".bmp": "BMP",
        ".ppm": "PPM",
        ".webp": "WEBP",
        ".tga": "TGA",
    }
    names = {f"{label}/{number}{rng.choice([*endings])}": (label, None) for label in CLASSES for number in range(2)}
    for name in names:
        paint(rng, root / name, endings[Path(name).suffix])
    return names, "read"


def subsets(rng: random.Random, root: Path, wrapper: str = "") -> tuple[Layout, str]:
    chosen = {"train": rng.choice(SUBSETS["train"])}
    chosen |= {subset: rng.choice(SUBSETS[subset]) for subset in rng.sample(["validation", "test"], rng.randint(1, 2))}
    names = {f"{name}/{label}/{subset}.png": (label, subset) for subset, name in chosen.items() for label in CLASSES}
    for name in names:
        paint(rng, root / wrapper / name)
    return names, "read"


def wrapped(rng: random.Random, root: Path) -> tuple[Layout, str]:
    wrapper = rng.choice(["archive", "data/images", "my data", "train", "Testing", "archive/val"])
    if rng.random() < 0.5 or subset_of(wrapper.rsplit("/", 1)[-1]):
        return subsets(rng, root, wrapper)
    names = {f"{label}/{number}.png": (label, None) for label in CLASSES for number in range(2)}
    for name in names:
        paint(rng, root / wrapper / name)
    return names, "read"


def doubled(rng: random.Random, root: Path) -> tuple[Layout, str]:
    """Archives of one subset each, unpacked into a folder of their own: seg_train/seg_train/cat."""
    chosen = {subset: (rng.choice(SUBSETS[subset]), rng.choice(SUBSETS[subset])) for subset in ("train", "test")}
    names = {
        f"{outer}/{inner}/{label}/{subset}.png": (label, subset)
        for subset, (outer, inner) in chosen.items()
        for label in CLASSES
    }
    for name in names:
        paint(rng, root / name)
    return names, "read"


def unknown_subsets(rng: random.Random, root: Path) -> tuple[Layout, str]:
    tops = rng.choice(
        [("a", "b"), ("part 1", "part 2", "part 3"), ("train", "more"), ("val", "test"), ("2019", "2020")]
    )
    for top in tops:
        for label in CLASSES:
            paint(rng, root / top / label / "1.png")
    return {}, "refused"


def beside_no_data(rng: random.Random, root: Path) -> tuple[Layout, str]:
    names, must = rng.choice([classes_alone, subsets])(rng, root)
    for _ in range(3):
        above = rng.choice(["", *{name.split("/")[0] for name in names}])
        paint(rng, root / above / rng.choice(NO_DATA) / "1.png")
    for name in ("Thumbs.db", "desktop.ini", "._1.png"):
        (root / name).write_bytes(b"x")
    return names, must


def odd_files(rng: random.Random, root: Path) -> tuple[Layout, str]:
    classes_alone(rng, root)
    odd = root / rng.choice(CLASSES) / "odd.png"
    makers: list[Callable[[], object]] = [
        lambda: os.mkfifo(odd),
        lambda: odd.symlink_to(rng.choice(["/dev/zero", "/dev/null", "nothing", odd])),
        lambda: odd.write_bytes(rng.choice([b"", b"text", rng.randbytes(500), b"%!PS-Adobe-3.0 EPSF-3.0\n"])),
        lambda: odd.write_bytes((root / "damaged").read_bytes()[: rng.randint(1, 60)]),
        lambda: (root / "cat" / "link").symlink_to(rng.choice(["/", "/proc"])),
    ]
    paint(rng, root / "damaged")
    rng.choice(makers)()
    return {}, "refused"


def circles(rng: random.Random, root: Path) -> tuple[Layout, str]:
    names, must = classes_alone(rng, root)
    for label in CLASSES:
        (root / label / "again").symlink_to(root / label)
    return names, must


FOLDERS = (classes_alone, subsets, wrapped, doubled, unknown_subsets, beside_no_data, odd_files, circles)


def try_folder(make: Callable[[random.Random, Path], tuple[Layout, str]], rng: random.Random, folder: Path) -> str:
    """Return what is wrong with how class folders are read; empty if nothing is."""
    root, result = folder / "data", folder / "result"
    root.mkdir()
    result.mkdir()
    right, must = make(rng, root)
    source = ImageFolderSource(path=str(root))
    try:
        source_digest(source)
        build_image_folder(source, 0, result)
    except AssayError as error:
        return about_message(str(error), must)
    items = pl.read_parquet(result / "items.parquet")
    found = {item: (label, subset) for item, label, subset in items.select("item", "label", "given_subset").iter_rows()}
    if must == "refused":
        return f"was read: {found}"
    return "" if found == right else f"read {found}, right is {right}"


def about_message(message: str, must: str) -> str:
    """Return what is wrong with a refusal; empty if nothing is."""
    if must == "read":
        return f"was refused: {message}"
    if not SHORTEST_MESSAGE < len(message) < LONGEST_MESSAGE:
        return f"a message of {len(message)} characters"
    return ""
