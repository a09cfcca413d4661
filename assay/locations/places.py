"""Locations by name: those of ``locations.yaml``, and the storage's own folders of experiments.

Belongs here: from a name to an opened place. Does not belong here: what is kept there (``catalog``).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from assay.errors import AssayError, StorageError, unknown
from assay.locations.settings import LocationSettings, read_locations
from assay.locations.tree import Tree, require_folder
from assay.secrets import hide, resolved

DEFAULT_LOCATION = "experiments"
"""Where experiments are unless their spec says otherwise: a folder of the storage."""

FILE = "locations.yaml"


@dataclass(frozen=True)
class Location:
    """A place for experiments.

    Attributes:
        name: What specs and jobs call it.
        tree: Its folder.
        is_storage: Whether it is a folder of the storage itself.
    """

    name: str
    tree: Tree
    is_storage: bool


class Locations:
    """All places that a project knows.

    Args:
        file: ``locations.yaml``; need not exist.
        root: Storage root.
    """

    def __init__(self, file: Path, root: Path) -> None:
        self.file = file.absolute()
        self.root = root.absolute()

    @cached_property
    def settings(self) -> dict[str, LocationSettings]:
        """What the file says."""
        return read_locations(self.file)

    def names(self) -> list[str]:
        """Return the names of all places: those of the file, and the storage's own."""
        entries = (self.root / "experiments_index").glob("*.json")
        own = {json.loads(entry.read_bytes())["folder"].partition("/")[0] for entry in entries}
        return sorted({*self.settings, *own, DEFAULT_LOCATION})

    def is_elsewhere(self, name: str) -> bool:
        """Return whether a name is that of a place outside of the storage."""
        return name in self.settings

    def open(self, name: str) -> Location:
        """Return a place by its name.

        Raises:
            SpecError: The file is not valid, or a variable that it names is not set.
            StorageError: There is no such name; lists the names. Or its folder does not exist.
        """
        if name in self.settings:
            return self._open_settings(name, self.settings[name])
        if name not in self.names():
            raise StorageError(f"{unknown('Location', name, self.names())} Name it in {self.file}.")
        return Location(name, Tree.of(self.root / name), is_storage=True)

    def open_any(self, name: str) -> Location:
        """Return a place by its name, or by the path of a folder of experiments.

        Raises:
            SpecError, StorageError: As ``open``.
        """
        if name not in self.names() and Path(name).is_dir():
            return Location(name, Tree.of(Path(name)), is_storage=Path(name).absolute().parent == self.root)
        return self.open(name)

    def _open_settings(self, name: str, settings: LocationSettings) -> Location:
        with reaching(name):
            tree = open_tree(settings.url, resolved(settings.options, f"{self.file}: {name}.options"))
        require_folder(tree, name)
        return Location(name, tree, is_storage=False)


def open_tree(url: str, options: dict[str, object]) -> Tree:
    """Return the folder at a URL or path.

    Raises:
        StorageError: The package that speaks this protocol is not installed.
    """
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url, use_listings_cache=False, **options)
    except ImportError as error:
        hint = "pip install 'assay[s3]'" if url.startswith("s3") else "install the package that it names"
        raise StorageError(f"{hide(url)} can't be opened: {error}. Next: {hint}.") from None
    except ValueError as error:
        raise StorageError(f"{hide(url)} can't be opened: {hide(str(error))}.") from None
    return Tree(fs, path.rstrip("/"), hide(url).rstrip("/"))


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn whatever a file system raises into one error that names the location and tells no secret.

    Raises:
        StorageError: The place can't be reached, read or written.
    """
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        # fsspec's systems raise errors of their own kinds; the chain is cut because theirs may show requests.
        reason = hide(str(error)) or type(error).__name__
        raise StorageError(f"Location {name!r} can't be used: {reason} ({type(error).__name__}).") from None
