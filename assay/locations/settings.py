"""The file ``locations.yaml``: names and addresses of further places for experiments, credentials from the environment.

Belongs here: its keys, reading it. Does not belong here: opening a place.

::

    archive: {url: /mnt/archive/experiments}
    team:
      url: s3://our-bucket/experiments
      options: {key: "${TEAM_KEY}", secret: "${TEAM_SECRET}", endpoint_url: "https://s3.example.org"}
"""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from assay.errors import SpecError
from assay.spec.base import Section
from assay.spec.secrets import written_secrets
from assay.spec.yaml_text import read_mapping

LocationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""Name of a location: what ``exp_out_location``, ``input_loc_name`` and ``output_loc_name`` take."""


class LocationSettings(Section):
    """One place."""

    url: str = Field(min_length=1, max_length=2000)
    """A folder, or a URL that fsspec knows, such as ``s3://bucket/experiments``."""
    options: dict[str, Any] = {}
    """Arguments of fsspec's file system, such as ``key``, ``secret`` and ``endpoint_url``; ``${NAME}`` is the value of
    an environment variable."""

    shared: bool = False
    """Whether several machines use this folder: locks of ``filelock_dict`` on its name then lie in it, kept by
    heartbeats."""

    @field_validator("url")
    @classmethod
    def _has_no_login(cls, url: str) -> str:
        if "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("holds a login; put it into options as ${NAME} and set that environment variable")
        return url

    @model_validator(mode="after")
    def _only_folders_hold_locks(self) -> Self:
        if self.shared and self.folder is None:
            raise ValueError("shared is true, but url is no folder, where locks could be; leave shared out")
        return self

    @property
    def folder(self) -> Path | None:
        """The folder of this machine's file systems that it is; None elsewhere."""
        protocol, separator, path = self.url.rpartition("://")
        return Path(path).absolute() if not separator or protocol == "file" else None


_FILE = TypeAdapter(dict[LocationName, LocationSettings])


def read_locations(path: Path) -> dict[str, LocationSettings]:
    """Return the locations of a file by name; none when there is no file.

    Raises:
        SpecError: It is not such a file, or a secret is written out in it.
    """
    if not path.is_file():
        return {}
    try:
        values = read_mapping(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"can't be read: {error}"]) from error
    if problems := written_secrets(values, lambda _settings: True):
        raise SpecError(str(path), problems)
    try:
        return _FILE.validate_python(values)
    except ValidationError as error:
        raise SpecError(str(path), [_line(detail) for detail in error.errors(include_url=False)]) from None


def _line(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    return f"{key}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
