"""Source ``masks``: from the user's images and masks to the index of items.

Belongs here: the order of steps, the index and its statistics. Does not belong here: judging places (``mask_places``),
files (``mask_contents``) or values (``mask_meanings``).
"""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
from PIL import Image

from assay.datasets.annotations import AnnotatedImage, needed_turns
from assay.datasets.geometry import upright_image, upright_size
from assay.datasets.index import item_row, save_truth_samples
from assay.datasets.inspection import (
    SUBSET_NAMES,
    Inspected,
    existing_path,
    inspect_images,
    is_hidden,
    placed,
    walk_files,
)
from assay.datasets.mask_classes import MaskContent, Meanings, inspect_masks, meanings_of, problems_of, table_of
from assay.datasets.schema import (
    BACKGROUND,
    CLASS,
    IMAGE_ITEM_COLUMNS,
    ITEMS_FILE,
    MASK_CLASSES_FILE,
    OBJECT_COLUMNS,
    OBJECTS_FILE,
)
from assay.errors import DataError
from assay.spec.generated_images import MaskFolderSource
from assay.spec.splits import TRAIN
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent


def build_masks(spec: MaskFolderSource, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Index the user's images and masks and return statistics about them; both stay where they are.

    Writes items.parquet, an empty objects.parquet, mask_classes.parquet and pictures/samples.png. Where a mask has to
    be turned with its image, all masks are copied to masks/.

    Raises:
        DataError: Every file that can't be used, by name and reason, before anything is written.
    """
    places = find_places(spec)
    found = inspect_images(places.root, [image.file for image in places.images], spec.max_pixels, progress)
    contents = inspect_masks(places.mask_root, [image.mask for image in places.images], progress)
    _raise_problems(spec, places, found, contents)
    turns = _turns(places.images, found, contents)
    mask_root = _turned_masks(places, turns, folder) if any(turn != 1 for turn in turns) else places.mask_root
    meanings = meanings_of(spec, [content for content in contents if content])
    items = _items(places.images, found)
    objects = pl.DataFrame(schema=dict(OBJECT_COLUMNS))
    write_parquet(items, folder / ITEMS_FILE)
    write_parquet(objects, folder / OBJECTS_FILE)
    write_parquet(table_of(meanings), folder / MASK_CLASSES_FILE)
    background = next((value for value, (_, role) in meanings.items() if role == BACKGROUND), None)
    save_truth_samples(items, objects, (places.root, mask_root), folder / "pictures" / "samples.png", background)
    is_ours = mask_root != places.mask_root
    return _report(places, items, contents, meanings) | {
        "mask_root": "masks" if is_ours else str(mask_root),
        "images_turned": sum(turn != 1 for turn in turns),
    }


@dataclass(frozen=True)
class MaskedImage:
    """An image and its mask, if it has one; both relative to their roots."""

    file: str
    mask: str | None
    given_subset: str | None


@dataclass
class MaskPlaces:
    """All images with their masks, sorted by file, and what can't be right about their places."""

    root: Path
    mask_root: Path
    images: list[MaskedImage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    other_files: int = 0


def _raise_problems(
    spec: MaskFolderSource, places: MaskPlaces, found: Sequence[Inspected], contents: Sequence[MaskContent | None]
) -> None:
    problems = list(places.problems)
    usable: dict[str, MaskContent] = {}
    for image, one, content in zip(places.images, found, contents, strict=True):
        if one.problem:
            problems.append(f"{image.file}: {one.problem}")
        if content and content.problem:
            problems.append(f"{image.mask}: {content.problem}")
        elif content and image.mask:
            usable[image.mask] = content
            if not one.problem and content.size not in (size := _sizes(one)):
                wanted = " or ".join(f"{width}x{height}" for width, height in size)
                problems.append(f"{image.mask}: has {content.size[0]}x{content.size[1]} px, its image {wanted} px")
    problems += problems_of(spec, list(usable), list(usable.values()))
    if problems:
        raise DataError(f"source.path {spec.path!r}: {len(problems)} problems; nothing was computed.", problems)
    if not usable:
        raise DataError(
            f"source.path {spec.path!r}: none of {len(places.images)} images has a mask of its name in {spec.masks!r}."
        )


def _sizes(one: Inspected) -> list[tuple[int, int]]:
    """Return the upright size of an image, and the stored one if that differs."""
    upright = (one.width_px, one.height_px)
    return list(dict.fromkeys([upright, upright_size(upright, one.orientation)]))


def _turns(
    images: Sequence[MaskedImage], found: Sequence[Inspected], contents: Sequence[MaskContent | None]
) -> list[int]:
    """Return the orientation by which each mask must be turned; masks are like COCO's boxes in that."""
    stated = [
        AnnotatedImage(image.file, image.file, None, content.size if content else None)
        for image, content in zip(images, contents, strict=True)
    ]
    return needed_turns(stated, found)[0]


def _turned_masks(places: MaskPlaces, turns: Sequence[int], folder: Path) -> Path:
    """Copy all masks to ``folder``, turned where that is needed, and return their root."""
    root = folder / "masks"
    for image, turn in zip(places.images, turns, strict=True):
        if image.mask is None:
            continue
        source, target = places.mask_root / image.mask, root / image.mask
        target.parent.mkdir(parents=True, exist_ok=True)
        if turn == 1:
            shutil.copyfile(source, target)
        else:
            with Image.open(source) as mask:
                upright_image(mask, turn).save(target, mask.format)
    return root


def _items(images: Sequence[MaskedImage], found: Sequence[Inspected]) -> pl.DataFrame:
    rows = [item_row(image.file, one, image.mask) for image, one in zip(images, found, strict=True)]
    for row, image in zip(rows, images, strict=True):
        row |= {"given_subset": image.given_subset, "labelled": image.mask is not None}
    return pl.DataFrame(rows, schema=dict(IMAGE_ITEM_COLUMNS), orient="row")


def _report(
    places: MaskPlaces, items: pl.DataFrame, contents: Sequence[MaskContent | None], meanings: Meanings
) -> dict[str, Any]:
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    for content in filter(None, contents):
        pixels.update(dict(content.counts))
        images.update(value for value, _ in content.counts)
    classes = {value: label for value, (label, role) in meanings.items() if role == CLASS}
    return {
        "root": str(places.root),
        "images": len(items),
        "labels": {str(label): images[value] for value, label in classes.items()},
        "pixel_shares": {str(label): round(pixels[value] / pixels.total(), 6) for value, label in classes.items()},
        "images_without_truth": int(items["mask"].null_count()),
        "given_subsets": dict(sorted(Counter(items["given_subset"].drop_nulls()).items())),
        "equal_files": len(items) - items["sha256"].n_unique(),
        "other_files": places.other_files,
        "largest_pixels": max(width * height for width, height in items["width_px", "height_px"].iter_rows()),
    }


_MASK_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class FolderPair:
    """A folder of images and that of their masks; ``subset`` is theirs in the second layout."""

    images: Path
    masks: Path
    subset: str | None = None


def folder_pairs(source: MaskFolderSource) -> list[FolderPair]:
    """Return the folders of images and masks.

    Raises:
        DataError: One of them does not exist.
    """
    base = existing_path(source.path, want_folder=True)
    if not placed(source.images, base).is_dir() and source.subset_folders != "never":
        subsets = sorted(entry.name for entry in base.iterdir() if entry.is_dir() and not is_hidden(entry.name))
        inner = [name for name in subsets if name.lower() in SUBSET_NAMES and (base / name / source.images).is_dir()]
        if inner:
            return [_pair(base / name, source, SUBSET_NAMES[name.lower()]) for name in inner]
    return [_pair(base, source, None)]


def _pair(base: Path, source: MaskFolderSource, subset: str | None) -> FolderPair:
    images = existing_path(source.images, True, "images", base)
    return FolderPair(images, existing_path(source.masks, True, "masks", base), subset)


def is_mask(name: str) -> bool:
    """Return whether a file is meant to be a mask by the end of its name; JPEGs are, and refused later."""
    return PurePosixPath(name).suffix.lower() in _MASK_ENDINGS


def find_places(source: MaskFolderSource) -> MaskPlaces:
    """Return the images with their masks.

    Raises:
        DataError: A folder does not exist.
    """
    pairs = folder_pairs(source)
    root = Path(os.path.commonpath([pair.images for pair in pairs]))
    places = MaskPlaces(root, Path(os.path.commonpath([pair.masks for pair in pairs])))
    for pair in pairs:
        _add_pair(places, pair, source)
    places.images.sort(key=lambda image: image.file)
    return places


def _add_pair(places: MaskPlaces, pair: FolderPair, source: MaskFolderSource) -> None:
    names = [name for name in walk_files(pair.images) if source.is_image(name)]
    masks = _masks_by_stem(pair, places)
    has_subsets = pair.subset is None and _has_subsets(names, source)
    for name in names:
        first = name.split("/")[0].lower()
        subset = SUBSET_NAMES.get(first) if has_subsets else pair.subset
        if has_subsets and subset is None:
            places.problems.append(f"{name}: lies in no folder called train, val or test, but others do")
        file = (pair.images / name).relative_to(places.root).as_posix()
        places.images.append(MaskedImage(file, masks.pop(_stem(name), None), subset))
    places.problems += [f"{mask}: there is no image of that name in {pair.images}" for mask in masks.values()]
    places.problems += _same_names(names)


def _masks_by_stem(pair: FolderPair, places: MaskPlaces) -> dict[str, str]:
    masks: dict[str, str] = {}
    for name in walk_files(pair.masks):
        if not is_mask(name):
            places.other_files += 1
        elif _stem(name) in masks:
            places.problems.append(f"{name}: has the same name as {masks[_stem(name)]}; keep one of them")
        else:
            masks[_stem(name)] = (pair.masks / name).relative_to(places.mask_root).as_posix()
    return masks


def _same_names(names: list[str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{name}: has the same name as {first[_stem(name)]}, so that both have one mask; rename one of them"
        for name in names
        if first.setdefault(_stem(name), name) != name
    ]


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _has_subsets(names: list[str], source: MaskFolderSource) -> bool:
    folders = {name.split("/")[0].lower() if "/" in name else "" for name in names}
    if source.subset_folders == "detect":
        return folders <= SUBSET_NAMES.keys() and TRAIN in {SUBSET_NAMES[name] for name in folders}
    return source.subset_folders == "always"
