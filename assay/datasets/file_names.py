"""Files as lists and annotation files of other systems name them, and as the disk has them.

Belongs here: separators of Windows, ``%20``, the spellings of Unicode, upper and lower case, files of formats that
are not read. Does not belong here: which names a format states, where they are looked for.
"""

import os
import unicodedata
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from urllib.parse import unquote

from assay.datasets.inspection import folders_in
from assay.errors import DataError, nearest
from assay.utils.reading import kind_of

_MOST_COMPARED = 2000
"""In folders of more files no similar name is looked for, and no more often than ``_MOST_GUESSES``: that takes time."""

_MOST_GUESSES = 20


def composed(name: str) -> str:
    """Return a name in the composed spelling of Unicode (NFC); macOS writes ``é`` as ``e`` and an accent."""
    return unicodedata.normalize("NFC", name)


def spellings(name: str) -> Iterator[str]:
    """Yield what a path that another system wrote may mean here, the most likely first."""
    slashed = name.replace("\\", "/")
    yield from dict.fromkeys((slashed, name, unquote(slashed)))


class FileFinder:
    """Finds files whatever the spelling of their names in Unicode; each folder is listed once, and only if needed."""

    def __init__(self) -> None:
        self._names: dict[Path, dict[str, str]] = {}
        self._folded: dict[Path, dict[str, str]] = {}
        self._guesses = 0

    def find(self, path: Path) -> Path | None:
        """Return the path as the disk has it, of whatever kind it is; None where there is nothing of this name."""
        if os.path.lexists(path):
            return path
        if path == path.parent:
            return None
        parent = self.find(path.parent)
        name = self._listed(parent).get(composed(path.name)) if parent else None
        return parent / name if parent and name is not None else None

    def find_file(self, path: Path) -> Path | None:
        """Return the path of a regular file as the disk has it; None where there is none."""
        found = self.find(path)
        return found if found is not None and os.path.isfile(found) else None  # noqa: PTH113 - never raises

    def hint(self, path: Path) -> str:
        """Return a clause, with a comma before it, on what is there instead of a missing file; often empty."""
        found = self.find(path)
        if found is not None:
            return f", where it is {kind_of_path(found)}"
        alike = self._in_any_case(path.parent)
        name = composed(path.name).casefold()
        if name in alike:
            return f"; there is {alike[name]!r}, in which upper and lower case differ"
        self._guesses += 1
        if len(alike) > _MOST_COMPARED or self._guesses > _MOST_GUESSES:
            return ""
        guess = nearest(name, alike)
        return f"; did you mean {alike[guess]!r}?" if guess else ""

    def is_alike(self, path: Path) -> bool:
        """Return whether there is a file of this name but for upper and lower case."""
        return composed(path.name).casefold() in self._in_any_case(path.parent)

    def _in_any_case(self, folder: Path) -> dict[str, str]:
        """Return the names in a folder by themselves without upper case."""
        if folder not in self._folded:
            found = self.find(folder)
            names = {} if found is None else self._listed(found)
            self._folded[folder] = {composed(name).casefold(): name for name in names.values()}
        return self._folded[folder]

    def _listed(self, folder: Path) -> dict[str, str]:
        """Return the names in a folder by their composed spelling."""
        if folder not in self._names:
            try:
                self._names[folder] = {composed(name): name for name in sorted(os.listdir(folder))}  # noqa: PTH208
            except OSError:
                self._names[folder] = {}
        return self._names[folder]


def kind_of_path(path: Path) -> str:
    """Return what a path that exists leads to, such as ``"a pipe (FIFO)"``."""
    try:
        return kind_of(path.stat().st_mode)
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})"


PASCAL_VOC = (
    "boxes of Pascal VOC are not read; save them as YOLO (in labelImg, the button below Save) or convert them to COCO"
)
"""What to do with files that labelImg writes unless told otherwise."""

LABELME = "shapes of LabelMe are not read; convert them to COCO or YOLO"
"""What to do with files that LabelMe writes beside the images."""

_MOST_FOLDERS_LOOKED_INTO = 50


def pascal_voc_hint(folder: Path) -> str:
    """Return what to add where a folder lacks annotations: that it, or a folder in it, holds those of Pascal VOC.

    Empty if there are none among the first folders. ``Annotations`` of ``VOCdevkit/VOC2012`` is found, too.
    """
    found = None
    with suppress(DataError, OSError):  # something is wrong already, and is about to be told
        levels = chain([folder], islice(_folders_below(folder), _MOST_FOLDERS_LOOKED_INTO))
        found = next((path for each in levels for path in each.glob("*.xml")), None)
    if found is None:
        return ""
    where = found.parent.relative_to(folder).as_posix()
    return f" The .xml files in {where}: {PASCAL_VOC}." if where != "." else f" Its .xml files: {PASCAL_VOC}."


def _folders_below(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder, then those in these, and so on."""
    waiting = deque([folder])
    while waiting:
        above = waiting.popleft()
        inner = [above / name for name in folders_in(above)]
        yield from inner
        waiting += inner
