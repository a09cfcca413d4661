"""Source ``image_folder``: from the user's class folders to the index of items.

Belongs here: the label of each image, images outside of class folders, the index. Does not belong here: what folders
mean (``class_folders``), looking into files (``inspection``).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from assay.datasets.class_folders import FolderReading, read_folders
from assay.datasets.index import item_row
from assay.datasets.inspection import (
    MOST_IMAGE_BYTES,
    SUBSET_NAMES,
    ImageInfo,
    alike_names,
    class_not_in_train,
    existing_path,
    folders_in,
    inspect_images,
    odd_images,
    subset_of,
    unread_images,
    walk_files,
)
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, ITEMS_FILE, OBJECT_COLUMNS, OBJECTS_FILE
from assay.errors import DataError
from assay.images.decoding import decode
from assay.plots.sheets import save_class_samples
from assay.spec.generated_images import ImageFolderSource
from assay.spec.splits import TRAIN
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent
from assay.utils.reading import read_bytes
from assay.utils.text import pluralize


def build_image_folder(spec: ImageFolderSource, seed: int, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and return statistics about them; the images stay where they are.

    Writes items.parquet, an empty objects.parquet and pictures/samples.png.

    Raises:
        DataError: Every file or folder that can't be used, by name and reason, before anything is written.
    """
    layout = read_layout(existing_path(spec.path, want_folder=True), spec)
    root = layout.base
    infos = inspect_images(root, [image.item for image in layout.images], spec.max_pixels, progress)
    _raise_problems(spec, layout, infos)
    items = _items(layout.images, infos)
    write_parquet(items, folder / ITEMS_FILE)
    write_parquet(pl.DataFrame(schema=dict(OBJECT_COLUMNS)), folder / OBJECTS_FILE)
    save_class_samples(
        items, lambda file: decode(read_bytes(root / file, MOST_IMAGE_BYTES)), folder / "pictures" / "samples.png"
    )
    odd = odd_images([image.item for image in layout.images], infos)
    return _report(root, items, replace(layout, warnings=(*layout.warnings, *odd)))


def check_folder_source(spec: ImageFolderSource) -> list[str]:
    """Return warnings about the user's folders, and refuse them as ``build_image_folder`` does; opens no image."""
    layout = read_layout(existing_path(spec.path, want_folder=True), spec)
    _raise_problems(spec, layout, [ImageInfo()] * len(layout.images))
    return list(layout.warnings)


@dataclass(frozen=True)
class LabelledImage:
    """An image whose folder is its class.

    Attributes:
        item: Path relative to the root, with ``/``.
        label: Name of its class folder.
        given_subset: Our name of its subset folder, if there are such.
    """

    item: str
    label: str
    given_subset: str | None


@dataclass(frozen=True)
class Layout:
    """What the paths of the files in a folder say.

    Attributes:
        base: The folder that the images are relative to: the root, or the folder in it that holds everything.
        images: All images that lie in a class folder, sorted by name.
        problems: What is wrong with the paths of images and folders.
        other_files: How many files are not images.
        warnings: What a person should know although it is no problem.
    """

    base: Path
    images: tuple[LabelledImage, ...]
    problems: tuple[str, ...]
    other_files: int
    warnings: tuple[str, ...]


def read_layout(root: Path, source: ImageFolderSource) -> Layout:
    """Return the images of a folder with the classes and subsets that their paths say.

    Raises:
        DataError: Folders named like subsets lie beside others, so that it is unclear what they mean.
    """
    files = list(walk_files(root))
    found = [name for name in files if source.is_image(name)]
    reading = read_folders(root, source, found)
    base = root / reading.wrapper
    start = len(reading.wrapper) + 1 if reading.wrapper else 0
    names = [name[start:] for name in found]
    misplaced = {name: problem for name in names if (problem := _misplaced(name, reading))}
    images = sorted(
        (_labelled_image(name, reading) for name in names if name not in misplaced), key=lambda image: image.item
    )
    problems = (
        *(f"{name}: {problem}" for name, problem in misplaced.items()),
        *_empty_folders(base, images, reading),
        *_same_names(images),
        *_classes_not_in_train(images),
    )
    labels = sorted({image.label for image in images})
    warnings = (*_notes(reading), *_no_class_names(labels), *alike_names(labels), *unread_images(root, files, source))
    return Layout(base, tuple(images), problems, len(files) - len(names), warnings)


def _notes(reading: FolderReading) -> list[str]:
    """Return how the folders are read where a person might have meant something else."""
    notes = []
    if reading.wrapper:
        inner = "subsets" if reading.has_subsets else "classes"
        notes.append(
            f"everything lies in {reading.wrapper!r}, so the folders in it are the {inner}; "
            "source.subset_folders: never makes it the class."
        )
    if reading.are_doubled:
        notes.append("each subset holds one folder of its own name, so the folders in that one are the classes.")
    if reading.class_like_subset is not None:
        notes.append(
            f"the folder {reading.class_like_subset!r} is taken for a class like those beside it; if it is a subset, "
            "move the others away, or into subsets of their own."
        )
    if reading.subsets_in_classes:
        notes.append(
            "the folders in the class folders are named like subsets, but don't count as such, so that the images are "
            "divided anew; move them to the top: train/CLASS."
        )
    return notes


_ANNOTATIONS = frozenset(("mask", "masks", "label", "labels", "annotations", "segmentation", "groundtruth", "gt"))


def _no_class_names(labels: Sequence[str]) -> list[str]:
    """Return the warning that the folders are those of images and their masks or labels."""
    names = {re.sub(r"[\W_]+", "", label.lower()): label for label in labels}
    if not {"images", "image", "imgs", "img"} & names.keys() or not _ANNOTATIONS & names.keys():
        return []
    return [
        f"the classes are called {', '.join(map(repr, labels[:3]))}; if these are images and what is marked in them, "
        "set source.kind to masks, yolo or coco"
    ]


def _misplaced(name: str, reading: FolderReading) -> str | None:
    """Return what is wrong with the path of an image."""
    parts = PurePosixPath(name).parts
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if reading.has_subsets and len(parts) > 1 and subset_of(parts[0]) is None:
        return f"lies in {parts[0]!r}, expected a subset: {', '.join(sorted(SUBSET_NAMES))}"
    if len(parts) < reading.class_place + 2:
        return f"lies outside a class folder, expected {'train/CLASS' if reading.has_subsets else 'CLASS'}/{parts[-1]}"
    return None


def _labelled_image(name: str, reading: FolderReading) -> LabelledImage:
    parts = PurePosixPath(name).parts
    return LabelledImage(name, parts[reading.class_place], subset_of(parts[0]) if reading.has_subsets else None)


def _empty_folders(root: Path, images: Sequence[LabelledImage], reading: FolderReading) -> list[str]:
    """Return one line per subset or class folder without images, or per subset with two folders."""
    has_subsets = reading.has_subsets
    subsets = folders_in(root) if has_subsets else []
    above = [f"{subset}/{name}" for subset in subsets for name in folders_in(root / subset)]
    classes = [f"{each}/{name}" for each in above for name in folders_in(root / each)] if reading.are_doubled else above
    used = {"/".join(image.item.split("/")[: reading.class_place + 1]) for image in images}
    used_subsets = {image.item.split("/")[0] for image in images}
    twice = _subsets_given_twice(subsets)
    empty = [f"{name}: class folder without images" for name in classes or folders_in(root) if name not in used]
    without = [f"{name}: subset folder without images" for name in subsets if name not in used_subsets]
    return twice + (without + empty if has_subsets else empty)


def _subsets_given_twice(folders: Sequence[str]) -> list[str]:
    by_subset = defaultdict(list)
    for name in folders:
        by_subset[subset_of(name) or name].append(name)
    return [f"{' and '.join(names)}: both are {subset}" for subset, names in by_subset.items() if len(names) > 1]


def _same_names(images: Iterable[LabelledImage]) -> list[str]:
    """Return one line per file whose name differs from that of another only in its ending or in case."""
    first: dict[str, str] = {}
    problems = []
    for image in images:
        key = str(PurePosixPath(image.item).with_suffix("")).casefold()
        if key in first:
            problems.append(f"{image.item}: has the same name as {first[key]}; rename one of them")
        first.setdefault(key, image.item)
    return problems


def _classes_not_in_train(images: Iterable[LabelledImage]) -> list[str]:
    classes = defaultdict(set)
    for image in images:
        if image.given_subset is not None:
            classes[image.given_subset].add(image.label)
    known = classes.pop(TRAIN, set())
    return [class_not_in_train(name, subset, known) for subset in sorted(classes) for name in classes[subset] - known]


def _raise_problems(spec: ImageFolderSource, layout: Layout, infos: Sequence[ImageInfo]) -> None:
    unusable = [
        f"{image.item}: {info.problem}" for image, info in zip(layout.images, infos, strict=True) if info.problem
    ]
    problems = [*layout.problems, *unusable, *_label_conflicts(layout.images, infos)]
    if problems:
        raise DataError(
            f"source.path {spec.path!r}: {pluralize(len(problems), 'problem')}; nothing was computed.", problems
        )
    if not layout.images:
        expected = ", ".join(spec.extensions)
        raise DataError(
            f"source.path {spec.path!r} holds no image, but {pluralize(layout.other_files, 'other file')}; "
            "expected class folders "
            f"with files that end in {expected} (source.extensions). {' '.join(layout.warnings)}".rstrip()
        )


def _label_conflicts(images: Sequence[LabelledImage], infos: Sequence[ImageInfo]) -> list[str]:
    """Return one line per file that has the same content as a file with another label."""
    first: dict[str, LabelledImage] = {}
    problems = []
    for image, info in zip(images, infos, strict=True):
        if info.problem or not info.sha256:
            continue
        same = first.setdefault(info.sha256, image)
        if same.label != image.label:
            problems.append(f"{image.item}: is the same file as {same.item}, but of another class")
    return problems


def _items(images: Sequence[LabelledImage], infos: Sequence[ImageInfo]) -> pl.DataFrame:
    rows = [
        item_row(image.item, info) | {"label": image.label, "given_subset": image.given_subset}
        for image, info in zip(images, infos, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict(IMAGE_ITEM_COLUMNS), orient="row")


def _report(root: Path, items: pl.DataFrame, layout: Layout) -> dict[str, Any]:
    return {
        "root": str(root),
        "images": len(items),
        "labels": _counts(items, "label"),
        "given_subsets": _counts(items, "given_subset"),
        "equal_files": len(items) - items["sha256"].n_unique(),
        "other_files": layout.other_files,
        "largest_pixels": max(width * height for width, height in items["width_px", "height_px"].iter_rows()),
        **({"warnings": list(layout.warnings)} if layout.warnings else {}),
    }


def _counts(items: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(Counter(items[column].drop_nulls()).items()))
