"""What the folders of an image folder mean: which are subsets, which are classes, and which only wraps the others.

Belongs here: deciding by names alone. Does not belong here: looking into files, problems of single images
(``image_folder``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.datasets.inspection import SUBSET_NAMES, folders_in, subset_of
from assay.errors import DataError
from assay.spec.generated_images import ImageFolderSource
from assay.spec.splits import TRAIN

_MOST_SHOWN = 5

_OF_OTHERS = 2
"""Folders of this many same names in each top folder are classes rather than a habit such as ``images``."""


_OF_CLASS_IN_SUBSET = 2
"""Slashes in train/CLASS/1.png."""


@dataclass(frozen=True)
class FolderReading:
    """What the folders mean.

    Attributes:
        wrapper: The folder that holds all others, such as ``archive/data``; empty if there is none.
        has_subsets: Whether the folders in it are subsets, with class folders in each, rather than classes.
        subsets_in_classes: Whether all folders in the class folders are named like subsets: cat/train, dog/test.
        are_doubled: Whether each subset wraps its classes in one more folder of its name: seg_train/seg_train/cat.
        class_like_subset: A class folder that is named like a subset, beside others that are not.
    """

    wrapper: str
    has_subsets: bool
    subsets_in_classes: bool = False
    are_doubled: bool = False
    class_like_subset: str | None = None

    @property
    def class_place(self) -> int:
        """Place of the class in the parts of an image's path below the wrapper."""
        return self.has_subsets + self.are_doubled


def read_folders(root: Path, source: ImageFolderSource, names: Sequence[str]) -> FolderReading:
    """Return what the folders mean.

    Args:
        root: The folder.
        source: Says whether subsets are expected.
        names: Paths of all images, relative to the root.

    Raises:
        DataError: They may be subsets as well as classes.
    """
    wrapper = _wrapper(root, names) if source.subset_folders != "never" else ""
    if source.subset_folders != "detect":
        return FolderReading(wrapper, source.subset_folders == "always")
    inner = _inner_folders(wrapper, names)
    if _are_subsets(root / wrapper, source, inner):
        depth = len(Path(wrapper).parts)
        are_deep = all(name.count("/") - depth > _OF_CLASS_IN_SUBSET for name in names)
        are_doubled = are_deep and _are_doubled(inner)
        if not are_doubled:
            _refuse_odd_subsets(source, inner, are_deep)
        return FolderReading(wrapper, True, are_doubled=are_doubled)
    are_outside = bool(inner) and all(map(subset_of, set.union(*inner.values())))
    like_subset = next((name for name in sorted(inner) if subset_of(name) == TRAIN), None)
    return FolderReading(wrapper, False, are_outside, class_like_subset=like_subset)


def new_reading(root: Path, source: ImageFolderSource, names: Sequence[str]) -> str:
    """Return how folders are read that a former version read otherwise; empty if it read them in the same way.

    The text is part of the data's hash, so that no result is found that was made when Training and Testing were taken
    for classes.
    """
    try:
        reading = read_folders(root, source, names)
    except DataError:
        return ""  # nothing new is computed: the stage refuses these folders
    folders = folders_in(root / reading.wrapper)
    if reading.wrapper or (reading.has_subsets and not all(name.lower() in SUBSET_NAMES for name in folders)):
        return f"wrapper {reading.wrapper}, subsets {reading.has_subsets}" + (
            ", doubled" if reading.are_doubled else ""
        )
    return "doubled" if reading.are_doubled else ""


def _wrapper(root: Path, names: Sequence[str]) -> str:
    """Return the folder, of any depth, that holds everything and only folders; empty if there is none.

    An archive train.zip often becomes train/train/cat and train/test/cat: the outer folder is no subset.
    """
    wrapper = ""
    while names:
        folders = folders_in(root / wrapper)
        if len(folders) != 1:
            break
        inner = f"{wrapper}/{folders[0]}".strip("/")
        is_subset = subset_of(folders[0]) is not None and not _are_all_subsets(folders_in(root / inner))
        # Without folders in it, it is a class; without classes in its subsets, these are classes perhaps.
        depth = inner.count("/") + (3 if subset_of(folders[0]) else 2)
        if is_subset or any(name.count("/") < depth for name in names):
            break
        wrapper = inner
    return wrapper


def _are_all_subsets(folders: Sequence[str]) -> bool:
    """Return whether folders are a division: all are named like subsets, and train is among them."""
    named = [subset_of(name) for name in folders]
    return TRAIN in named and None not in named


def _are_doubled(inner: dict[str, set[str]]) -> bool:
    """Return whether the only folder in each subset is named like this subset."""
    return all(len(names) == 1 and subset_of(next(iter(names))) == subset_of(top) for top, names in inner.items())


def _inner_folders(wrapper: str, names: Sequence[str]) -> dict[str, set[str]]:
    """Return, by top folder with images, the folders in it with images; an empty name for images in itself."""
    inner: dict[str, set[str]] = {}
    start = len(wrapper) + 1 if wrapper else 0
    for name in names:
        top, _, rest = name[start:].partition("/")
        if rest:
            inner.setdefault(top, set()).add(rest.partition("/")[0] if "/" in rest else "")
    return inner


def _are_subsets(base: Path, source: ImageFolderSource, inner: dict[str, set[str]]) -> bool:
    folders = folders_in(base)
    named = [name for name in folders if subset_of(name)]
    others = [name for name in folders if name not in named]
    is_division = TRAIN in map(subset_of, named)
    if is_division and not others:
        return True
    if is_division and len(named) > 1:
        raise DataError(
            f"source.path {source.path!r} has the folders {', '.join(named)} beside {_listed(others)}: are they "
            "subsets or classes? Move the others away, or set source.subset_folders to never: then all are classes."
        )
    if _look_like_subsets(inner, bool(named) and not others):
        first = next(iter(sorted(inner)))
        raise DataError(
            f"source.path {source.path!r}: the folders {_listed(sorted(inner))} hold folders themselves, such as "
            f"{_listed(sorted(inner[first]))} in {first!r}: are they subsets, and these the classes? Then name them "
            "train, validation and test, or set source.subset_folders: always where they are. Or are they the classes? "
            "Then set source.subset_folders: never."
        )
    return False


def _refuse_odd_subsets(source: ImageFolderSource, inner: dict[str, set[str]], are_deep: bool) -> None:
    """Refuse folders that are named like subsets, but hold images or one further folder instead of classes.

    Args:
        source: Names the folder.
        inner: The folders in each subset.
        are_deep: Whether all images lie deeper than in a class folder.
    """
    if inner and all(folders == {""} for folders in inner.values()):
        raise DataError(
            f"source.path {source.path!r}: the folders {_listed(sorted(inner))} are named like subsets, but hold "
            "images instead of class folders, expected train/CLASS/1.png. If they are the classes, set "
            "source.subset_folders: never."
        )
    alone = [f"{top}/{name}" for top, names in inner.items() for name in names]
    union = set.union(set(), *inner.values())
    if len(alone) == len(inner) and ((len(union) == 1 and are_deep) or (alone and _are_doubled(inner))):
        raise DataError(
            f"source.path {source.path!r}: {_listed(sorted(alone))}: one folder each instead of class folders, "
            "expected train/CLASS/1.png; move the folders in them up."
        )
    if _are_all_subsets(sorted(union)):
        raise DataError(
            f"source.path {source.path!r}: {_listed(sorted(alone))}: are these subsets or classes? Expected "
            "train/CLASS/1.png. If they are subsets, give their classes folders and remove the folder around them; if "
            "they are the classes, set source.subset_folders: always."
        )


def _look_like_subsets(inner: dict[str, set[str]], all_named: bool) -> bool:
    """Return whether each top folder holds only folders, of the same names, as subsets hold their classes."""
    sets = list(inner.values())
    if not sets or any("" in names for names in sets):
        return False
    if all_named:
        return True
    shared, union = set.intersection(*sets), set.union(*sets)
    are_classes_outside = all(map(subset_of, union))  # cat/train, dog/train
    return len(sets) > 1 and not are_classes_outside and len(shared) >= max(_OF_OTHERS, len(union) / 2)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_SHOWN]) + (", …" if len(names) > _MOST_SHOWN else "")
