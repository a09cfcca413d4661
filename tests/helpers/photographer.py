"""Runs an experiment and photographs its storage before every event that changes it.

``python -m tests.helpers.photographer STORAGE PHOTOGRAPHS ARGUMENTS…`` runs a command of Assay in this process. An
audit hook sees what Python is about to open for writing, rename, link or delete below the storage; each time, the
storage as it is at that moment is kept as a numbered folder: finished files as links, unfinished ones as copies. A
process that is killed then leaves just that.
"""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHANGING = frozenset({"os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.truncate"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
WITHOUT = "locks"
"""A killed process holds no lock, and those of the photographed process are its own."""


class Photographer:
    """An audit hook; photographs are numbered from 0, and ``events`` names the event after each."""

    def __init__(self, storage: Path, photographs: Path) -> None:
        self.storage = storage
        self.photographs = photographs
        self.events: list[str] = []
        self._lock = threading.RLock()
        self._is_busy = threading.local()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if getattr(self._is_busy, "now", False) or not (event == "open" or event in CHANGING):
            return
        self._is_busy.now = True
        try:
            paths = self._changed(event, arguments)
            if paths:
                with self._lock:
                    self._photograph(f"{event} {' -> '.join(paths)}")
        finally:
            self._is_busy.now = False

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> list[str]:
        """Return the paths, relative to the storage, of what an event changes there."""
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITING):
            return []
        given = [each for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
        given = given[:1] if event in ("open", "os.symlink") else given
        if event == "os.symlink":
            given = [arguments[1]]
        folder = next((each for each in arguments[1:] if isinstance(each, int) and each > 2), None)
        found = [self._relative(os.fsdecode(each), folder if event != "open" else None) for each in given]
        return [name for name in found if name and not name.startswith(f"{WITHOUT}/") and name != WITHOUT]

    def _relative(self, path: str, folder: int | None) -> str:
        if not path.startswith("/") and folder is not None:
            try:
                path = f"{os.readlink(f'/proc/self/fd/{folder}')}/{path}"  # noqa: PTH115
            except OSError:
                return ""
        whole = os.path.abspath(path)  # noqa: PTH100
        prefix = f"{self.storage}/"
        return whole.removeprefix(prefix) if whole.startswith(prefix) else ""

    def _photograph(self, event: str) -> None:
        target = self.photographs / f"{len(self.events):05d}"
        copy_storage(self.storage, target)
        self.events.append(event)
        with (self.photographs / "events.txt").open("a") as file:
            file.write(f"{event}\n".replace("\0", ""))


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Let temporary folders of the block, and of processes that it starts and kills, be gone after it."""
    former = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            os.environ.pop("TMPDIR")
            if former is not None:
                os.environ["TMPDIR"] = former


def copy_storage(storage: Path, target: Path) -> None:
    """Copy a storage without its locks; finished files, which nobody changes, are linked."""
    target.mkdir(parents=True)
    for parent, folders, names in os.walk(storage):
        here = target / Path(parent).relative_to(storage)
        folders[:] = [name for name in folders if (parent, name) != (str(storage), WITHOUT)]
        for name in folders:
            if not Path(parent, name).is_symlink():
                (here / name).mkdir()
        for name in [*names, *(name for name in folders if Path(parent, name).is_symlink())]:
            _copy(Path(parent, name), here / name)


def _copy(source: Path, target: Path) -> None:
    try:
        if source.is_symlink():
            target.symlink_to(source.readlink())
        elif "/.tmp-" in str(source) or "warehouse" in source.name or source.suffix in (".lock", ".csv", ".log"):
            shutil.copy2(source, target)
        else:
            os.link(source, target)
    except FileNotFoundError:
        pass  # another thread, whose event comes next, has removed it


if __name__ == "__main__":
    photographer = Photographer(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.argv = ["assay", *sys.argv[3:]]
    sys.addaudithook(photographer)
    from assay.cli.main import script

    script()
