"""Which mask belongs to which image, and what can't be right about their places.

Belongs here: folders and names. Does not belong here: the content of masks.

Two layouts are known: ``images/[train/]a.jpg`` beside ``masks/[train/]a.png``, and ``train/images/a.jpg`` beside
``train/masks/a.png``.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from assay.own_data.layout import SUBSET_NAMES
from assay.own_data.places import existing_path, is_hidden, placed, walk_files
from assay.spec.annotated_images import MaskFolderSource
from assay.spec.splits import TRAIN

_MASK_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class FolderPair:
    """A folder of images and that of their masks; ``subset`` is theirs in the second layout."""

    images: Path
    masks: Path
    subset: str | None = None


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
