"""Looking into every image file once, before anything is computed.

Belongs here: which files can be used, their sizes, hashes and looks. Does not belong here: what their folders mean.
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from assay.errors import DataError, nearest
from assay.images.decoding import DECODE_ERRORS, decode_turned
from assay.images.near_duplicates import look_of
from assay.spec.generated_images import ImageFolderSource
from assay.spec.splits import TEST, TRAIN, VALIDATION
from assay.utils.concurrency import Progress, map_in_order, usable_cores


@dataclass(frozen=True)
class Inspected:
    """What is in one file; ``problem`` says why it can't be used, and is empty when it can.

    Width and height are those of the upright image; ``orientation`` is the EXIF orientation that made it upright.
    """

    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    pixels: str = ""
    thumbnail: bytes = b""
    orientation: int = 1
    problem: str = ""


def inspect_images(root: Path, files: Sequence[str], max_pixels: int, progress: Progress) -> list[Inspected]:
    """Decode every image in threads and return what is in it, in the order of ``files``, which are below ``root``."""
    found: list[Inspected] = []
    for one in map_in_order(lambda file: _inspect(root / file, max_pixels), files, usable_cores()):
        found.append(one)
        progress(len(found), len(files), "images checked")
    return found


def _inspect(path: Path, max_pixels: int) -> Inspected:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Inspected(problem=f"can't be read: {error.strerror}")
    if not content:
        return Inspected(problem="is empty")
    try:
        image, orientation = decode_turned(content, max_pixels)
    except DECODE_ERRORS as error:
        return Inspected(problem=in_words(error))
    look = look_of(image)
    return Inspected(hashlib.sha256(content).hexdigest(), *image.size, look.pixels, look.thumbnail, orientation)


def in_words(error: BaseException) -> str:
    """Return Pillow's reason as a clause; it names the memory address of our buffer where the file name belongs."""
    reason = str(error)
    if "cannot identify image file" in reason:
        return "is no image that can be read, or its start is damaged"
    if "truncated" in reason or isinstance(error, EOFError):
        return f"is truncated ({reason})"
    if "decompression bomb" in reason:
        return f"is too large to decode safely ({reason})"
    return reason if reason.startswith(("has ", "is a JPEG")) else f"is damaged ({reason})"


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


def label_conflicts(images: Sequence[ImageFile], found: Sequence[Inspected]) -> list[str]:
    """Return one line per file that is byte for byte another one with another label."""
    first: dict[str, ImageFile] = {}
    problems = []
    for image, content in zip(images, found, strict=True):
        if content.problem:
            continue
        same = first.setdefault(content.sha256, image)
        if same.label != image.label:
            problems.append(f"{image.item}: is the same file as {same.item}, but of another class")
    return problems


_ADDED_BY_ARCHIVERS = "__MACOSX"


def existing_path(text: str, want_folder: bool | None, key: str = "path", base: Path | None = None) -> Path:
    """Return the absolute path of the user's data.

    Args:
        text: As in the spec; ``~`` is the home folder.
        want_folder: Whether a folder is expected rather than a file; None: either.
        key: Name of the source's key, for messages.
        base: What relative paths are relative to; None: the working directory.

    Raises:
        DataError: It does not exist, with the nearest name that does; or it is the other of folder and file.
    """
    path = placed(text, base)
    if not path.exists():
        raise DataError(f"source.{key}: {text!r} does not exist (looked for {path}). {_what_is_there(path)}")
    if want_folder is not None and path.is_dir() != want_folder:
        found, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise DataError(f"source.{key}: {text!r} is a {found}, expected a {wanted} ({path}).")
    return path


def placed(text: str, base: Path | None = None) -> Path:
    """Return the absolute path that a text in the spec means, whether or not it exists."""
    path = Path(text).expanduser()
    return Path(os.path.normpath((base / path if base else path).absolute()))


def _what_is_there(path: Path) -> str:
    """Return the nearest name in the lowest parent that exists."""
    missing = next(part for part in [*reversed(path.parents), path] if not part.exists())
    names = {entry.name.lower(): entry.name for entry in missing.parent.iterdir()}
    guess = nearest(missing.name, names)
    if guess is None:
        return f"Nothing in {missing.parent} has a similar name."
    return f"Did you mean {str(missing.parent / names[guess])!r}?"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is bookkeeping of the operating system or an archiver."""
    return name.startswith(".") or name == _ADDED_BY_ARCHIVERS


def walk_files(root: Path) -> Iterator[str]:
    """Yield the relative POSIX path of every file that is not hidden, sorted within each folder.

    Links to folders are followed, but no folder is entered within itself.
    """
    yield from _walk(root, "", frozenset())


def _walk(root: Path, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    status = (root / folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    with os.scandir(root / folder) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not is_hidden(entry.name))
    for name, is_folder in found:
        relative = f"{folder}/{name}" if folder else name
        if is_folder:
            yield from _walk(root, relative, above | {identity})
        else:
            yield relative


SUBSET_NAMES = {TRAIN: TRAIN, VALIDATION: VALIDATION, "val": VALIDATION, "valid": VALIDATION, TEST: TEST}
"""Names that people give to subsets, and ours."""


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
