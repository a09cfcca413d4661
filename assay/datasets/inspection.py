"""The user's files: where they are, which there are, and what is in each image.

Belongs here: paths, walking folders, names of subsets, decoding every image once. Does not belong here: what a folder
or a file means in one of the formats.
"""

import errno
import hashlib
import math
import os
import re
import stat
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path, PurePosixPath

from assay.errors import DataError, FileError, nearest
from assay.images.decoding import DECODE_ERRORS, ODDITIES, decode_with_oddity, starts_like_image
from assay.images.near_duplicates import signature_of
from assay.spec.generated_images import ImageSource
from assay.spec.splits import TEST, TRAIN, VALIDATION
from assay.utils.concurrency import Progress, map_in_order, usable_cores
from assay.utils.reading import kind_of, open_regular, read_bytes, user_path
from assay.utils.text import pluralize

SUBSET_NAMES = {TRAIN: TRAIN, VALIDATION: VALIDATION, "val": VALIDATION, "valid": VALIDATION, TEST: TEST}
"""Names that people give to subsets, and ours."""

_FOLDER_NAMES = {
    **SUBSET_NAMES,
    "training": TRAIN,
    **dict.fromkeys(("validate", "validating", "dev", "devel", "development", "eval", "evaluation"), VALIDATION),
    **dict.fromkeys(("testing", "tests", "holdout"), TEST),
}
"""Names that people give to the folders of subsets."""

_BESIDE_SUBSETS = frozenset(
    [
        "set",
        "sets",
        "data",
        "dataset",
        "image",
        "images",
        "img",
        "imgs",
        "photo",
        "photos",
        "picture",
        "pictures",
        "jpg",
        "png",
        "seg",
        "cls",
        "split",
        "folder",
    ]
)
"""Words that say nothing when they stand beside the name of a subset: seg_train, train_images, Test Set."""

_BOOKKEEPING = frozenset(
    (
        *("__macosx", "__pycache__", "network trash folder", "temporary items", "icon\r"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot", "@sharebin"),
        *("@synoresource", "synoindex_media_info", "@__thumb", "recycler", "$winreagent", "lost.dir", "_gsdata_"),
        *("$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini"),
        *("lost+found", *(f"found.{number:03}" for number in range(10))),
    )
)
"""Lower-case names of what macOS, network storage, Windows and Linux add to folders."""

MOST_ENTRIES = 10_000_000
"""More files and folders than this are no data set, but a whole disk."""

_STORAGE_MARK = "experiments_index"
"""Folder by which a storage of Assay is recognized where it lies in the folder of the data."""

_MOST_VISITS = 100
"""How often links may lead to the same folder; without a limit, folders that link to each other would be entered in
every possible order."""

_MOST_NAMES = 10_000
"""How many names of a folder are searched for a similar one."""

_MOST_SHOWN = 200
"""Longer paths are cut in messages."""


def existing_path(text: str, want_folder: bool | None, key: str = "path", base: Path | None = None) -> Path:
    """Return the absolute path of the user's data.

    Args:
        text: As in the spec; ``~`` is the home folder.
        want_folder: Whether a folder is expected rather than a file; None: either.
        key: Name of the source's key, for messages.
        base: What relative paths are relative to; None: the working directory.

    Raises:
        DataError: It does not exist, with the nearest name that does; it is a file where a folder is expected, or the
            other way round; it is neither, can't be reached, or belongs to the operating system.
    """
    where = f"source.{key}: {_cut(text)}"
    try:
        path = absolute_path(text, base)
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{where} does not exist (looked for {_cut(path, quoted=False)}). {_what_is_there(path)}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise DataError(f"{where} can't be reached: {_reason(error)}.") from None
    is_folder = stat.S_ISDIR(status.st_mode)
    expected = "a file or a folder" if want_folder is None else "a folder" if want_folder else "a file"
    if (not is_folder and (want_folder or not stat.S_ISREG(status.st_mode))) or (is_folder and want_folder is False):
        actual = kind_of(status.st_mode).replace("regular ", "")
        raise DataError(f"{where} is {actual}, expected {expected} ({path}).")
    if is_folder and (reason := _is_system(path)):
        raise DataError(f"{where} is {reason}, expected the folder of the data.")
    return path


def absolute_path(text: str, base: Path | None = None) -> Path:
    """Return the absolute path that a text in the spec means, whether or not it exists."""
    path = user_path(text)
    return Path(os.path.normpath((base / path if base else path).absolute()))


def _cut(text: str | Path, quoted: bool = True) -> str:
    shown = str(text) if len(str(text)) <= _MOST_SHOWN else f"{str(text)[:_MOST_SHOWN]}…"
    return repr(shown) if quoted else shown


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.ELOOP:
        return "its links lead in a circle"
    return getattr(error, "strerror", None) or str(error)


def _what_is_there(path: Path) -> str:
    """Return the nearest name in the lowest parent that exists."""
    missing = path
    while not os.path.isdir(missing.parent):  # noqa: PTH112 - false, not an error, for what can't be reached
        missing = missing.parent
    if os.path.isfile(missing):  # noqa: PTH113
        return f"{missing} is a file, not a folder."
    try:
        with os.scandir(missing.parent) as entries:
            names = {entry.name.lower(): entry.name for entry in islice(entries, _MOST_NAMES)}
    except OSError as error:
        return f"{missing.parent} can't be read: {_reason(error)}."
    guess = nearest(missing.name[:_MOST_SHOWN], names)
    if guess is None:
        return f"Nothing in {missing.parent} has a similar name."
    return f"Did you mean {str(missing.parent / names[guess])!r}?"


_NO_DISKS = ("/proc", "/sys", "/dev")
"""Where the operating system shows itself as files, which may be endless or change something when they are opened."""

_Identity = tuple[int, int]


def _identity(path: Path) -> _Identity:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_system(path: Path) -> str:
    """Return what a folder is, if it is the whole file system or on none of its disks; empty for any other folder."""
    identity, (top, devices) = _identity(path), _system()
    if identity == top:
        return "the whole file system"
    return "a folder of the operating system" if identity[0] in devices else ""


@cache
def _system() -> tuple[_Identity, frozenset[int]]:
    """Return what the top of the file system is, and the devices on no disk."""
    top = _identity(Path("/"))
    devices = {_identity(folder)[0] for folder in map(Path, _NO_DISKS) if folder.is_dir()}
    return top, frozenset(devices - {top[0]})


def is_hidden(name: str) -> bool:
    """Return whether a file or folder belongs to the operating system, a tool or an archiver instead of the data."""
    return name.startswith(".") or name.lower() in _BOOKKEEPING


def walk_files(root: Path, most: int = MOST_ENTRIES) -> Iterator[str]:
    """Yield the relative POSIX path of every file that is not hidden, sorted within each folder.

    Links to folders are followed, but no folder is entered within itself. What is no folder counts as a file: pipes,
    devices and links to nothing, too.

    Args:
        root: The folder.
        most: Largest number of files and folders.

    Raises:
        DataError: A folder can't be read or is gone, links lead to the operating system's folders or to one folder
            again and again, there are too many files, or the time of ``walking_until`` is over.
    """
    visits: Counter[_Identity] = Counter()
    stack = [_enter(root, "", visits)]
    seen = 0
    while stack:
        _require_time(root)
        entry = next(stack[-1][1], None)
        if entry is None:
            stack.pop()
            continue
        name, is_folder = entry
        seen += 1
        if seen > most:
            raise DataError(f"{root} holds more than {most:,} files and folders; name the folder of the data.")
        if not is_folder:
            yield name
            continue
        stack.append(_enter(root, name, visits, {identity for identity, _ in stack}))


_DEADLINE = ContextVar("deadline", default=math.inf)
"""Value of ``time.monotonic`` after which no folder is walked any further."""


@contextmanager
def walking_until(deadline: float) -> Iterator[None]:
    """Limit the time that walking folders may take in the block: a path such as ``/`` or ``/proc`` may never end.

    Args:
        deadline: Value of ``time.monotonic``; an earlier limit stays.
    """
    token = _DEADLINE.set(min(deadline, _DEADLINE.get()))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def _require_time(root: Path) -> None:
    if time.monotonic() > _DEADLINE.get():
        raise DataError(f"{root}: it holds so many files that listing them took too long; name the folder of the data.")


def _enter(
    root: Path, folder: str, visits: Counter[_Identity], above: Collection[_Identity] = ()
) -> tuple[_Identity, Iterator[tuple[str, bool]]]:
    """Return what a folder is, and the relative path of each entry with whether it is a folder; none within itself."""
    path = root / folder
    try:
        identity = _identity(path)
        if identity in above:
            return identity, iter(())
        visits[identity] += 1
        if visits[identity] > _MOST_VISITS:
            raise DataError(f"{path}: links lead to this folder from more than {_MOST_VISITS} places; remove them.")
        if folder and (reason := _is_system(path)):
            raise DataError(f"{path} leads to {reason}; remove the link.")
        found = _entries(path)
    except OSError as error:
        raise DataError(f"{path} can't be read: {_reason(error)}. Make it readable, or move it away.") from error
    if folder and (_STORAGE_MARK, True) in found:  # results are no data, and would change the data with every run
        return identity, iter(())
    return identity, iter([(f"{folder}/{name}" if folder else name, is_folder) for name, is_folder in found])


def _entries(path: Path) -> list[tuple[str, bool]]:
    """Return name and whether it is a folder of everything in a folder that is not hidden, sorted."""
    with os.scandir(path) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries if not is_hidden(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def folders_in(root: Path) -> list[str]:
    """Return the names of the folders in a folder that are not hidden, sorted.

    Raises:
        DataError: The folder can't be read.
    """
    try:
        return [name for name, is_folder in _entries(root) if is_folder]
    except OSError as error:
        raise DataError(f"{root} can't be read: {_reason(error)}. Make it readable, or move it away.") from error


def subset_of(folder: str) -> str | None:
    """Return our name of the subset that a folder is named after, such as Training, dev-set or seg_test; None if none.

    Numbers don't go with it: train1 and train2 are as likely two classes.
    """
    if folder.lower() in SUBSET_NAMES:
        return SUBSET_NAMES[folder.lower()]
    if re.search(r"[^\W\d_]\d", folder):
        return None
    words = re.sub(r"hold[\W_]*out", "holdout", folder.lower())
    found = [_subset_of_word(word) for word in re.findall(r"[^\W\d_]+", words) if word not in _BESIDE_SUBSETS]
    return found[0] if len(found) == 1 else None


def _subset_of_word(word: str) -> str | None:
    """Return the subset of train, training, trainset and the like."""
    stems = [word, *(word.removesuffix(end) for end in ("set", "data", "images", "imgs"))]
    return next((_FOLDER_NAMES[stem] for stem in stems if stem in _FOLDER_NAMES), None)


def subset_in_name(name: str) -> str | None:
    """Return our name of the subset that a name such as instances_val2017.json mentions, if it mentions only one."""
    found = {SUBSET_NAMES[word] for word in re.findall(r"[a-z]+", name.lower()) if word in SUBSET_NAMES}
    return found.pop() if len(found) == 1 else None


def alike_names(names: Iterable[str]) -> list[str]:
    """Return a warning if classes differ only in case, spaces or the spelling in Unicode; a and A may be meant."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        plain = " ".join(unicodedata.normalize("NFC", name).casefold().split())
        other = first.setdefault(plain, name)
        if other != name and len(plain) > 1:
            pairs.append(f"{other!r} and {name!r}")
    copies = [
        f"{first[base]!r} and {name!r}"
        for plain, name in first.items()
        if (base := _COPY.sub("", plain)) != plain and base in first
    ]
    return [
        f"{', '.join(found[:3])}{f' and {len(found) - 3} more' * (len(found) > 3)} {clause}, but are two classes"
        for found, clause in (
            (pairs, "differ only in case, spaces or spelling"),
            (copies, "look like a folder and its copy"),
        )
        if found
    ]


_COPY = re.compile(r"( - (copy|kopie|copie|copia))?( ?\(\d\))?$")
"""What file managers add to the name of a copy."""


def class_not_in_train(name: str, subset: str, known: Iterable[str]) -> str:
    """Return the message for a class that is tested but can't be learned."""
    guess = nearest(name, known)
    hint = f" Did you mean {guess!r}?" if guess else ""
    return f"class {name!r} is in {subset} but not in {TRAIN}, so it can't be learned.{hint}"


@dataclass(frozen=True)
class ImageInfo:
    """What is in one image file.

    Attributes:
        sha256: Hash of the file's bytes.
        width_px: Width of the upright image.
        height_px: Height of the upright image.
        pixels: Hash of its decoded pixels.
        thumbnail: See ``assay.images.near_duplicates``.
        orientation: The EXIF orientation that made it upright.
        oddity: What is lost or hardly seen of it, one of ``ODDITIES``; empty if nothing is.
        problem: A clause that says why the file can't be used; empty when it can.
    """

    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    pixels: str = ""
    thumbnail: bytes = b""
    orientation: int = 1
    oddity: str = ""
    problem: str = ""


def odd_images(files: Sequence[str], infos: Sequence[ImageInfo]) -> list[str]:
    """Return a warning per kind of oddity, with the number of images and the first of them."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for file, info in zip(files, infos, strict=True):
        by_kind[info.oddity].append(file)
    shown = {
        kind: ", ".join(map(repr, found[:3])) + (", …" if len(found) > 3 else "") for kind, found in by_kind.items()
    }
    return [
        f"{pluralize(len(by_kind[kind]), 'image')} {clause}: {shown[kind]}"
        for kind, clause in ODDITIES.items()
        if by_kind[kind]
    ]


MOST_IMAGE_BYTES = 2**30
"""Limit of one image file: more than 50 million pixels take without compression."""


def inspect_images(root: Path, files: Sequence[str], max_pixels: int, progress: Progress) -> list[ImageInfo]:
    """Decode every image in threads and return what is in it, in the order of ``files``.

    Args:
        root: Folder that the files are relative to.
        files: Paths of the images.
        max_pixels: Largest width times height, checked before decoding.
        progress: Called after each image.
    """
    infos: list[ImageInfo] = []
    for info in map_in_order(lambda file: _inspect(root / file, max_pixels), files, usable_cores()):
        infos.append(info)
        progress(len(infos), len(files), "images checked")
    return infos


def _inspect(path: Path, max_pixels: int) -> ImageInfo:
    try:
        content = read_bytes(path, MOST_IMAGE_BYTES)
    except FileNotFoundError:
        return ImageInfo(problem="is gone, or a link to nothing")
    except FileError as error:
        return ImageInfo(problem=error.reason)
    if not content:
        return ImageInfo(problem="is empty")
    try:
        image, orientation, oddity = decode_with_oddity(content, max_pixels)
    except DECODE_ERRORS as error:
        return ImageInfo(problem=describe_decode_error(error))
    signature = signature_of(image)
    return ImageInfo(
        hashlib.sha256(content).hexdigest(), *image.size, signature.pixels, signature.thumbnail, orientation, oddity
    )


def describe_decode_error(error: BaseException) -> str:
    """Return Pillow's reason as a clause, without the memory address that it gives in place of a file name."""
    reason = str(error)
    if "cannot identify image file" in reason:
        return "is no image that can be read, or its start is damaged"
    if "truncated" in reason or isinstance(error, EOFError):
        return f"is truncated ({reason})"
    if "decompression bomb" in reason:
        return f"is too large to decode safely ({reason})"
    return reason if reason.startswith(("has ", "is a JPEG")) else f"is damaged ({reason})"


_OTHER_IMAGES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".svg", ".psd", ".xcf", ".exr", ".hdr", ".dcm", ".ico", ".eps", ".pfm"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".jfi", ".jif"),
    )
)
"""Endings of images that Assay does not read."""

_MOST_LOOKED_INTO = 1_000
"""How many files without the ending of an image are opened to see whether they are one."""


def unread_images(root: Path, files: Iterable[str], source: ImageSource) -> list[str]:
    """Return the warning that files look like images but are not read; empty if none does.

    Args:
        root: Folder that the files are relative to.
        files: Paths of the files that were found, images or not.
        source: Says which of them are read.
    """
    others = [name for name in files if not source.is_image(name)]
    endings = _OTHER_IMAGES | {*ImageSource().extensions, *ImageSource.ALSO_READ}
    ending = {name for name in others if PurePosixPath(name).suffix.lower() in endings}
    without = [name for name in others if name not in ending][:_MOST_LOOKED_INTO]
    found = sorted([*ending, *(name for name in without if starts_with_image(root / name))])
    if not found:
        return []
    shown = ", ".join(map(repr, found[:3])) + (", …" if len(found) > 3 else "")
    kinds = ", ".join(sorted({PurePosixPath(name).suffix.lower() or "no ending" for name in found}))
    return [
        f"{pluralize(len(found), 'file looks like an image but is', 'files look like images but are')} not "
        f"read ({kinds}): {shown}. Convert them to PNG or JPEG; an "
        "ending that is only missing goes into source.extensions."
    ]


def starts_with_image(path: Path) -> bool:
    """Return whether a regular file begins as images do, read by Assay or not."""
    try:
        with open_regular(path) as file:
            return starts_like_image(file.read(16))
    except (OSError, FileError):
        return False
