"""What the folders of an image folder mean: subsets, classes, and what lies where it can't.

Belongs here: names of folders and files. Does not belong here: the content of files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from assay.errors import DataError, nearest
from assay.own_data.places import is_hidden, walk_files
from assay.spec.own_data import ImageFolderSource
from assay.spec.splits import TEST, TRAIN, VALIDATION

SUBSET_NAMES = {TRAIN: TRAIN, VALIDATION: VALIDATION, "val": VALIDATION, "valid": VALIDATION, TEST: TEST}
"""Names that people give to subsets, and ours."""


@dataclass(frozen=True)
class ImageFile:
    """An image by its place.

    Attributes:
        item: Path relative to the root, with ``/``.
        label: Name of its class folder.
        given_subset: Our name of its subset folder, if there are such.
    """

    item: str
    label: str
    given_subset: str | None

    @property
    def folder(self) -> str:
        """Path of the folder that the image lies in."""
        return str(PurePosixPath(self.item).parent)


@dataclass
class Layout:
    """All images of a folder, what can't be right about their places, and how many files are no images."""

    images: list[ImageFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    other_files: int = 0


def read_layout(root: Path, source: ImageFolderSource) -> Layout:
    """Return the images by place, sorted by name.

    Raises:
        DataError: Folders named like subsets lie beside others, so that nobody can say what they mean.
    """
    has_subsets = _has_subsets(root, source)
    layout = Layout()
    for name in walk_files(root):
        if PurePosixPath(name).suffix.lower() not in source.extensions:
            layout.other_files += 1
        elif problem := _misplaced(name, has_subsets):
            layout.problems.append(f"{name}: {problem}")
        else:
            layout.images.append(_placed(name, has_subsets))
    layout.images.sort(key=lambda image: image.item)
    layout.problems += _empty_folders(root, layout, has_subsets)
    layout.problems += _same_names(layout.images)
    layout.problems += _classes_not_in_train(layout.images)
    return layout


def _has_subsets(root: Path, source: ImageFolderSource) -> bool:
    folders = _folders(root)
    named = [name for name in folders if name.lower() in SUBSET_NAMES]
    others = [name for name in folders if name not in named]
    is_division = TRAIN in {SUBSET_NAMES[name.lower()] for name in named}
    if source.subset_folders == "detect" and is_division and len(named) > 1 and others:
        raise DataError(
            f"source.path {source.path!r} has the folders {', '.join(named)} beside {', '.join(others[:5])}: are they "
            "subsets or classes? Move the others away, or set source.subset_folders to never: then all are classes."
        )
    if source.subset_folders == "detect":
        return is_division and not others
    return source.subset_folders == "always"


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def _misplaced(name: str, has_subsets: bool) -> str | None:
    """Return what is wrong with the place or the name of an image."""
    parts = PurePosixPath(name).parts
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if has_subsets and len(parts) > 1 and parts[0].lower() not in SUBSET_NAMES:
        return f"lies in {parts[0]!r}, expected a subset: {', '.join(sorted(SUBSET_NAMES))}"
    if len(parts) < (3 if has_subsets else 2):
        return f"lies outside a class folder, expected {'train/CLASS' if has_subsets else 'CLASS'}/{parts[-1]}"
    return None


def _placed(name: str, has_subsets: bool) -> ImageFile:
    parts = PurePosixPath(name).parts
    if has_subsets:
        return ImageFile(name, parts[1], SUBSET_NAMES[parts[0].lower()])
    return ImageFile(name, parts[0], None)


def _empty_folders(root: Path, layout: Layout, has_subsets: bool) -> list[str]:
    """Return one line per subset or class folder in which no image is."""
    subsets = _folders(root) if has_subsets else []
    classes = [f"{subset}/{name}" for subset in subsets for name in _folders(root / subset)]
    used = {"/".join(image.item.split("/")[: 2 if has_subsets else 1]) for image in layout.images}
    used_subsets = {image.item.split("/")[0] for image in layout.images}
    twice = _subsets_given_twice(subsets)
    empty = [f"{name}: class folder without images" for name in classes or _folders(root) if name not in used]
    without = [f"{name}: subset folder without images" for name in subsets if name not in used_subsets]
    return twice + (without + empty if has_subsets else empty)


def subset_in_name(name: str) -> str | None:
    """Return our name of the subset that a name such as instances_val2017.json speaks of, if it is one alone."""
    found = {SUBSET_NAMES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SUBSET_NAMES}
    return found.pop() if len(found) == 1 else None


def _subsets_given_twice(folders: Sequence[str]) -> list[str]:
    by_subset = defaultdict(list)
    for name in folders:
        by_subset[SUBSET_NAMES.get(name.lower(), name)].append(name)
    return [f"{' and '.join(names)}: both are {subset}" for subset, names in by_subset.items() if len(names) > 1]


def _same_names(images: Iterable[ImageFile]) -> list[str]:
    """Return one line per file whose name differs from another's in its ending or in case only."""
    first: dict[str, str] = {}
    problems = []
    for image in images:
        key = str(PurePosixPath(image.item).with_suffix("")).casefold()
        if key in first:
            problems.append(f"{image.item}: has the same name as {first[key]}; rename one of them")
        first.setdefault(key, image.item)
    return problems


def _classes_not_in_train(images: Iterable[ImageFile]) -> list[str]:
    classes = defaultdict(set)
    for image in images:
        if image.given_subset is not None:
            classes[image.given_subset].add(image.label)
    known = classes.pop(TRAIN, set())
    return [class_not_in_train(name, subset, known) for subset in sorted(classes) for name in classes[subset] - known]


def class_not_in_train(name: str, subset: str, known: Iterable[str]) -> str:
    """Return the sentence for a class that can be tested but not learned."""
    guess = nearest(name, known)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"class {name!r} is in {subset} but not in {TRAIN}, so it can't be learned.{hint}"
