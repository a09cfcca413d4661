"""Putting files into the folders of their subsets without copying a byte.

Belongs here: hard links and their fallback. Does not belong here: who belongs where.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from assay.errors import DataError
from assay.progress import Progress

_NO_LINKS_HERE = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
"""Another disk, a file system without links, somebody else's files, or too many links to one file."""


def link_files(files: Sequence[tuple[Path, str]], folder: Path, progress: Progress) -> bool:
    """Hard-link files into ``folder``; either all of them or, where links can't be made, none.

    Args:
        files: Path, and the wanted path relative to ``folder``.
        folder: Where the links go.
        progress: Called now and then.

    Returns:
        Whether the links were made; if not, the files must be referred to where they are.

    Raises:
        DataError: Files are gone since they were indexed.
    """
    missing = [str(source) for source, _ in files if not source.is_file()]
    if missing:
        raise DataError(f"{len(missing)} files are gone since they were indexed. Run again.", missing)
    made: set[Path] = set()
    for done, (source, target) in enumerate(files, 1):
        path = folder / target
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        if not _link(source.resolve(), path):
            _remove_trees(folder, files)
            return False
        progress(done, len(files), "files linked")
    return True


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _NO_LINKS_HERE:
            return False
        raise
    return True


def _remove_trees(folder: Path, files: Sequence[tuple[Path, str]]) -> None:
    for top in {PurePosixPath(target).parts[0] for _, target in files}:
        shutil.rmtree(folder / top, ignore_errors=True)
