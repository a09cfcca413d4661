"""Where the user's data are, and which files are there.

Belongs here: paths and walking. Does not belong here: what a folder means, what is in a file.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from assay.errors import DataError, nearest

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
