"""Source ``masks``: which mask belongs to which of the user's images, and what the masks say.

Belongs here: folders and names, and which of them can't be right. Does not belong here: what is in a mask and what its
values mean (``mask_classes``), what all annotated images have in common (``annotations``, ``index``).

Two layouts are known: ``images/[train/]a.jpg`` beside ``masks/[train/]a.png``, and ``train/images/a.jpg`` beside
``train/masks/a.png``.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from assay.datasets.annotations import AnnotatedDataset, AnnotatedImage, UserMasks
from assay.datasets.file_names import composed
from assay.datasets.inspection import absolute_path, existing_path, folders_in, subset_of, walk_files
from assay.datasets.mask_classes import (
    MaskClasses,
    MaskContent,
    inspect_masks,
    mask_class_table,
    mask_classes_of,
    mask_notes_of,
    value_problems_of,
)
from assay.datasets.schema import CLASS
from assay.errors import DataError
from assay.spec.generated_images import MaskFolderSource
from assay.spec.splits import TRAIN
from assay.utils.concurrency import Progress, silent


def read_mask_folder(spec: MaskFolderSource, progress: Progress = silent) -> AnnotatedDataset:
    """Return the images with their masks, and everything that is wrong with them.

    Raises:
        DataError: A folder does not exist.
    """
    paths = find_mask_paths(spec)
    contents = inspect_masks(paths.mask_root, [image.mask for image in paths.images], spec, progress)
    usable = {
        image.mask: content
        for image, content in zip(paths.images, contents, strict=True)
        if image.mask and content and not content.problem
    }
    unusable = [
        f"{image.mask}: {content.problem}"
        for image, content in zip(paths.images, contents, strict=True)
        if content and content.problem
    ]
    classes = mask_classes_of(spec, list(usable.values()))
    problems = value_problems_of(spec, list(usable), list(usable.values()))
    return AnnotatedDataset(
        root=paths.root,
        images=tuple(_annotated_image(image, usable) for image in paths.images),
        classes=tuple(str(label) for label, role in classes.values() if role == CLASS),
        problems=(*paths.problems, *unusable, *problems),
        statistics=_statistics(usable.values(), classes) | {"other_files": paths.other_files},
        warnings=tuple(mask_notes_of(spec, list(usable.values()), classes)) if not problems else (),
        masks=UserMasks(paths.mask_root, mask_class_table(classes)),
    )


@dataclass(frozen=True)
class MaskedImage:
    """An image and its mask, if it has one; both relative to their roots."""

    file: str
    mask: str | None
    given_subset: str | None


def _annotated_image(image: MaskedImage, contents: Mapping[str, MaskContent]) -> AnnotatedImage:
    content = contents.get(image.mask) if image.mask else None
    return AnnotatedImage(
        file=image.file,
        where=image.file,
        given_subset=image.given_subset,
        stated_size=content.size if content else None,
        labelled=image.mask is not None,
        mask=image.mask,
    )


def _statistics(contents: Iterable[MaskContent], classes: MaskClasses) -> dict[str, Any]:
    """Return the number of images that show each class, and its share of all pixels."""
    pixels: Counter[int] = Counter()
    images: Counter[int] = Counter()
    for content in contents:
        pixels.update(dict(content.counts))
        images.update(value for value, _ in content.counts)
    labels = {value: str(label) for value, (label, role) in classes.items() if role == CLASS}
    total = max(1, pixels.total())
    return {
        "labels": {label: images[value] for value, label in labels.items()},
        "pixel_shares": {label: round(pixels[value] / total, 6) for value, label in labels.items()},
    }


@dataclass(frozen=True)
class MaskPaths:
    """Which mask belongs to which image.

    Attributes:
        root: Folder that the images' files are relative to.
        mask_root: Folder that the masks' files are relative to.
        images: All images with their masks, sorted by file.
        problems: What is wrong with the paths of files.
        other_files: How many files in the folders of masks are not masks.
    """

    root: Path
    mask_root: Path
    images: tuple[MaskedImage, ...]
    problems: tuple[str, ...]
    other_files: int


_MASK_ENDINGS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")


@dataclass(frozen=True)
class FolderPair:
    """A folder of images and the folder of their masks; in the second layout both belong to ``subset``."""

    images: Path
    masks: Path
    subset: str | None = None


def folder_pairs(source: MaskFolderSource) -> list[FolderPair]:
    """Return the folders of images and masks.

    Raises:
        DataError: One of them does not exist.
    """
    base = existing_path(source.path, want_folder=True)
    if not absolute_path(source.images, base).is_dir() and source.subset_folders != "never":
        inner = {name: subset_of(name) for name in folders_in(base) if (base / name / source.images).is_dir()}
        if any(inner.values()):
            _refuse_others(source, inner)
            return [_pair(base / name, source, subset) for name, subset in inner.items()]
    return [_pair(base, source, None)]


def _refuse_others(source: MaskFolderSource, inner: Mapping[str, str | None]) -> None:
    """Refuse folders with images that are no subset, beside those that are: their images would be left out silently.

    Raises:
        DataError: There are such folders.
    """
    others = [name for name, subset in inner.items() if subset is None]
    if others:
        named = ", ".join(name for name, subset in inner.items() if subset)
        raise DataError(
            f"source.path {source.path!r}: {', '.join(others[:_MOST_SHOWN])} holds {source.images!r} beside {named}, "
            "but is named like no subset. Rename it to train, val or test, move its images into one of them, or move "
            "it away."
        )


_MOST_SHOWN = 5


def _pair(base: Path, source: MaskFolderSource, subset: str | None) -> FolderPair:
    images = existing_path(source.images, True, "images", base)
    return FolderPair(images, existing_path(source.masks, True, "masks", base), subset)


def is_mask(name: str) -> bool:
    """Return whether a file is a mask by the end of its name; a JPEG is one, and is refused when it is read."""
    return PurePosixPath(name).suffix.lower() in _MASK_ENDINGS


def find_mask_paths(source: MaskFolderSource) -> MaskPaths:
    """Return the images with their masks.

    Raises:
        DataError: A folder does not exist.
    """
    pairs = folder_pairs(source)
    root = Path(os.path.commonpath([pair.images for pair in pairs]))
    mask_root = Path(os.path.commonpath([pair.masks for pair in pairs]))
    images: list[MaskedImage] = []
    problems: list[str] = []
    other_files = 0
    for pair in pairs:
        files = list(walk_files(pair.masks))
        masks, clashes = _masks_by_stem(pair, [name for name in files if is_mask(name)], mask_root)
        found, misplaced = _masked_images(pair, masks, source, root)
        images += found
        problems += clashes + misplaced
        other_files += sum(not is_mask(name) for name in files)
    images.sort(key=lambda image: image.file)
    return MaskPaths(root, mask_root, tuple(images), tuple(problems), other_files)


def _masks_by_stem(pair: FolderPair, names: Sequence[str], mask_root: Path) -> tuple[dict[str, str], list[str]]:
    """Return the masks by name without ending, and one line per mask that has the name of another one."""
    masks: dict[str, str] = {}
    problems = []
    for name in names:
        mask = (pair.masks / name).relative_to(mask_root).as_posix()
        first = masks.setdefault(_stem(name), mask)
        if first != mask:
            problems.append(f"{name}: has the same name as {first}; keep one of them")
    return masks, problems


def _masked_images(
    pair: FolderPair, masks: Mapping[str, str], source: MaskFolderSource, root: Path
) -> tuple[list[MaskedImage], list[str]]:
    """Return the images of a pair of folders, and what is wrong with their paths."""
    names = [name for name in walk_files(pair.images) if source.is_image(name)]
    has_subsets = pair.subset is None and _has_subsets(names, source)
    unused = dict(masks)
    images, problems = [], []
    for name in names:
        subset = subset_of(name.split("/")[0]) if has_subsets else pair.subset
        if has_subsets and subset is None:
            problems.append(
                f"{name}: lies in no folder called train, val or test, but others do; source.subset_folders: never "
                "divides all of them anew"
            )
        file = (pair.images / name).relative_to(root).as_posix()
        images.append(MaskedImage(file, unused.pop(_stem(name), None), subset))
    alike = {_stem(name).casefold(): name for name in names}
    ending = _common_ending(unused, alike)
    lone = [
        f"{mask}: there is no image of that name in {pair.images}{_differs_in_case(alike.get(stem.casefold()))}{ending}"
        for stem, mask in unused.items()
    ]
    return images, [*problems, *lone, *_same_names(names)]


def _common_ending(unused: Collection[str], images: Mapping[str, str]) -> str:
    """Return the clause that all these masks are called as an image and the same word behind it, such as ``_mask``."""
    stems = [stem.casefold() for stem in unused]
    first = next(
        (image for image in sorted(images, key=len, reverse=True) if stems and stems[0].startswith(image)), None
    )
    ending = stems[0][len(first) :] if first else ""
    if not ending or not all(stem.endswith(ending) and stem.removesuffix(ending) in images for stem in stems):
        return ""
    return f"; leave {next(iter(unused))[-len(ending) :]!r} out of the names of masks"


def _differs_in_case(name: str | None) -> str:
    return f", but {name}; upper and lower case differ" if name else ""


def _same_names(names: list[str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"{name}: has the same name as {first[_stem(name)]}, so that both have one mask; rename one of them"
        for name in names
        if first.setdefault(_stem(name), name) != name
    ]


def _stem(name: str) -> str:
    return composed(str(PurePosixPath(name).with_suffix("")))


def _has_subsets(names: list[str], source: MaskFolderSource) -> bool:
    subsets = {subset_of(name.split("/")[0]) if "/" in name else None for name in names}
    if source.subset_folders == "detect":
        return TRAIN in subsets
    return source.subset_folders == "always"
