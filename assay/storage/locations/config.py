"""Locations by name: those of ``locations.yaml``, and the storage's own folders of experiments.

An example of ``locations.yaml``; credentials come from the environment::

    archive: {url: /mnt/archive/experiments}
    team:
      url: s3://our-bucket/experiments
      options: {key: "${TEAM_ACCESS_KEY}", secret: "${TEAM_SECRET_KEY}"}

Belongs here: the keys of that file, opening a location. Does not belong here: which experiments a location has
(``assay.experiments.catalog``), reading and writing files there (``filesystem``).
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from assay.errors import AssayError, SpecError, StorageError, UnreachableError, unknown
from assay.spec.base import FolderName, Section
from assay.spec.loading import load_values
from assay.spec.secrets import hide, resolved, written_secrets
from assay.storage.locations.filesystem import Tree, require_folder
from assay.storage.records import IndexEntry, read_stored

DEFAULT_LOCATION = "experiments"
"""Location of experiments whose spec names no other: a folder of the storage."""

FILE = "locations.yaml"


@dataclass(frozen=True)
class Location:
    """An opened location.

    Attributes:
        name: Name of the location in specs and jobs.
        tree: Its folder.
        is_storage: Whether it is a folder of the storage itself.
    """

    name: str
    tree: Tree
    is_storage: bool


class LocationSettings(Section):
    """An entry of ``locations.yaml``."""

    url: str = Field(min_length=1, max_length=2000)
    """A folder, or a URL that fsspec supports, such as ``s3://bucket/experiments``."""
    options: dict[str, Any] = {}
    """Arguments of fsspec's file system, such as ``key``, ``secret`` and ``endpoint_url``; ``${NAME}`` is replaced by
    the value of that environment variable."""

    shared: bool = False
    """Whether several machines use this folder; locks of ``filelock_dict`` on the location are then stored in it and
    maintained by heartbeats."""

    @field_validator("url")
    @classmethod
    def _has_no_login(cls, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("holds a login; put it into options as ${NAME} and set that environment variable")
        return url

    @field_validator("options")
    @classmethod
    def _truth_values_are_meant(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
                raise ValueError(f"{key} is {value!r}, which is a text; expected true or false")
        return options

    @model_validator(mode="after")
    def _only_folders_hold_locks(self) -> Self:
        if self.shared and self.folder is None:
            raise ValueError("shared is true, but url is no folder, where locks could be; leave shared out")
        return self

    @property
    def folder(self) -> Path | None:
        """The folder, if the URL is one on a file system of this machine; else None."""
        protocol, separator, path = self.url.rpartition("://")
        return Path(path).absolute() if not separator or protocol == "file" else None


class Locations:
    """All locations of a project.

    Args:
        file: ``locations.yaml``; need not exist.
        root: Storage root.
    """

    def __init__(self, file: Path, root: Path) -> None:
        self.file = file.absolute()
        self.root = root.absolute()

    @cached_property
    def settings(self) -> dict[str, LocationSettings]:
        """The entries of the file, by name."""
        return read_locations(self.file)

    def names(self) -> list[str]:
        """Return the names of all locations: those of the file, and the storage's own."""
        own = set()
        for entry in (self.root / "experiments_index").glob("*.json"):
            with suppress(StorageError, FileNotFoundError):  # whoever asks for that experiment is told
                own.add(str(read_stored(entry, IndexEntry)["folder"]).partition("/")[0])
        return sorted({*self.settings, *own, DEFAULT_LOCATION})

    def is_external(self, name: str) -> bool:
        """Return whether a name is that of a location outside the storage."""
        return name in self.settings

    def open(self, name: str) -> Location:
        """Open a location by its name.

        Raises:
            SpecError: The file is not valid, or an environment variable that it names is not set.
            StorageError: The name is unknown (the message lists the known ones), or its folder does not exist.
        """
        if name in self.settings:
            return self._open_settings(name, self.settings[name])
        if name not in self.names():
            raise StorageError(f"{unknown('Location', name, self.names())} Name it in {self.file}.")
        return Location(name, Tree.of(self.root / name), is_storage=True)

    def open_any(self, name: str) -> Location:
        """Open a location by its name, or by the path of a folder of experiments.

        Raises:
            SpecError, StorageError: See ``open``.
        """
        if name not in self.names() and Path(name).is_dir():
            return Location(name, Tree.of(Path(name)), Path(name).resolve().parent == self.root.resolve())
        return self.open(name)

    def _open_settings(self, name: str, settings: LocationSettings) -> Location:
        with location_errors(name):
            tree = open_tree(settings.url, resolved(settings.options, f"{self.file}: {name}.options"))
        require_folder(tree, name)
        return Location(name, tree, is_storage=False)


def open_tree(url: str, options: dict[str, object]) -> Tree:
    """Return the folder at a URL or path.

    Raises:
        StorageError: The URL is not valid, or the package for its protocol is not installed.
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
def location_errors(name: str) -> Iterator[None]:
    """Turn every error of a file system in the block into a ``StorageError`` that names the location, without secrets.

    Raises:
        UnreachableError: The location can't be reached at the moment.
        StorageError: The location can't be read or written.
    """
    try:
        yield
    except AssayError:
        raise
    except Exception as error:
        # fsspec's file systems raise their own exception types. The chain is cut because these may show requests.
        reason = hide(str(error)) or type(error).__name__
        kind = UnreachableError if _may_pass(error) else StorageError
        raise kind(f"Location {name!r} can't be used: {reason} ({type(error).__name__}).") from None


_PASSING = {"ClientConnectionError", "ConnectionError", "HTTPClientError"}
"""Base classes of the errors of aiohttp and botocore when a server does not answer, or stops in the middle."""

_PASSING_ERRNO = {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EIO, errno.ENETDOWN, errno.ENETUNREACH, errno.ESTALE}
"""What the operating system says when a file system on the network is away."""


def _may_pass(error: Exception) -> bool:
    """Return whether an error is one of the connection, which may be gone a moment later."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    by_number = isinstance(error, OSError) and error.errno in _PASSING_ERRNO
    return by_number or not _PASSING.isdisjoint(each.__name__ for each in type(error).__mro__)


_FILE = TypeAdapter(dict[FolderName, LocationSettings])


def read_locations(path: Path) -> dict[str, LocationSettings]:
    """Return the entries of a locations file by name; none if the file does not exist.

    Raises:
        SpecError: The file is not valid, or contains a secret instead of a reference to one.
    """
    if not os.path.lexists(path):
        return {}
    values = load_values(path)
    if problems := written_secrets(values, lambda _settings: True):
        raise SpecError(str(path), problems)
    try:
        return _FILE.validate_python(values)
    except ValidationError as error:
        raise SpecError(str(path), [_line(detail) for detail in error.errors(include_url=False)]) from None


def _line(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
