"""The records that folders keep of themselves: manifests, index entries, pointers, notes of copies; read with a check.

They may have been written by a stranger, or be damaged. Whoever reads one gets every key with its type, names that stay
inside the folder, and fingerprints that are some; or a ``StorageError`` that names the file and the key. Keys of later
versions are kept.

Belongs here: the shapes, and reading them. Does not belong here: writing them, and what follows from their content.
"""

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError

from assay.errors import FileError, StorageError, shorten
from assay.pipeline import FINGERPRINT_LENGTH
from assay.spec.base import RESERVED_FOLDERS
from assay.storage.files import INNER_NAME, INNER_PART
from assay.utils.reading import MOST_BYTES, parse_record, read_bytes

MOST_MANIFEST_BYTES = 2**30
"""Limit of the manifests of our own results, which list up to millions of images."""

MOST_NESTED = 60
"""Levels of the free part of a record, so that whoever walks through it ends."""


def _walkable(value: Any) -> Any:
    pending = [(value, 1)]
    while pending:
        each, level = pending.pop()
        if level > MOST_NESTED:
            raise ValueError(f"is nested deeper than {MOST_NESTED} levels")
        if isinstance(each, float) and not math.isfinite(each):
            raise ValueError("holds a number that is not finite")
        if isinstance(each, str) and not each.isascii():
            each.encode()  # raises ValueError for half of a surrogate pair, which no file can hold
        inner = [*each, *each.values()] if isinstance(each, dict) else each if isinstance(each, list) else ()
        pending += [(one, level + 1) for one in inner]
    return value


def _of_a_location(folder: str) -> str:
    if folder.partition("/")[0].lower() in RESERVED_FOLDERS:
        raise ValueError("is a folder that the storage keeps for itself")
    return folder


InnerName = Annotated[str, Field(pattern=INNER_NAME, max_length=4096)]
"""Name of a file relative to a folder: inside of it, with ``/`` between its parts and in one way of writing."""

_EXPECTED = {
    INNER_NAME: "a name inside the folder",
    rf"^[0-9a-f]{{{FINGERPRINT_LENGTH}}}$": f"{FINGERPRINT_LENGTH} hex digits",
    r"^[0-9a-f]{64}$": "64 hex digits",
    r"^[a-z][a-z0-9_]{0,62}$": "the name of a stage",
    rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,62}}/{INNER_PART}$": "a location and the name of a folder there",
}
"""What the patterns stand for, in messages."""

_FINGERPRINT, _SHA256, _STAGE, _FOLDER = tuple(_EXPECTED)[1:]

Fingerprint = Annotated[str, Field(pattern=_FINGERPRINT)]
StageName = Annotated[str, Field(pattern=_STAGE)]
_Sha256 = Annotated[str, Field(pattern=_SHA256)]
_Text = Annotated[str, Field(max_length=1000)]
_Walkable = Annotated[dict[str, Any], AfterValidator(_walkable)]


class Record(BaseModel):
    """Base of all shapes: JSON types are taken as they are, and unknown keys belong to a later version."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)


class _File(Record):
    size_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    sha256: _Sha256


class _FolderFile(_File):
    stage: StageName


class ResultInputs(Record):
    """The part of a result's manifest that says what it was made from directly."""

    inputs: dict[_Text, _Text]


class ResultManifest(ResultInputs):
    """``manifest.json`` of a stage's result."""

    stage: StageName
    fingerprint: Fingerprint
    code_version: _Text
    section: _Walkable
    task: _Text | None
    ancestors: dict[StageName, Fingerprint]
    files: dict[InnerName, _File]


class FolderManifest(Record):
    """``manifest.json`` of an experiment's folder."""

    results: dict[StageName, Fingerprint]
    files: dict[InnerName, _FolderFile]


class IndexEntry(Record):
    """An experiment's file in ``experiments_index/``: a folder of a location of this storage."""

    run_id: Annotated[str, Field(min_length=1, max_length=200)]
    folder: Annotated[str, Field(pattern=_FOLDER), AfterValidator(_of_a_location)]


class SharedResult(Record):
    """A result of an experiment in a bucket, and the hash of its manifest."""

    fingerprint: Fingerprint
    manifest: _Sha256


_SharedSource = Annotated[list[InnerName], Field(min_length=2, max_length=2)]
"""Stage and name of the result's file that a file is."""


class SharedFile(Record):
    """A file of an experiment in a bucket: its text, or the result's file that it is, or an object of its own."""

    sha256: _Sha256
    text: str | None = None
    result: _SharedSource | None = None


class SharedTable(Record):
    """A partition of an experiment in a bucket; see ``SharedFile``."""

    fingerprint: Annotated[str, Field(max_length=120)]
    sha256: _Sha256
    result: _SharedSource | None = None


class SharedExperiment(Record):
    """``experiments/<id>.json`` in a bucket; names of files are relative to the storage root."""

    folder: Annotated[str, Field(pattern=_FOLDER), AfterValidator(_of_a_location)]
    results: dict[StageName, SharedResult]
    files: dict[InnerName, SharedFile]
    tables: dict[_Text, SharedTable]


class SeenExperiment(Record):
    """What a machine last saw of an experiment in a bucket: ETag, names of files, hashes of objects of its own.

    ``sha256`` is the hash of the content that this machine would publish, if it did not change since.
    """

    etag: _Text
    sha256: str = ""
    files: list[InnerName]
    blobs: list[_Sha256]


class Pointer(Record):
    """An asset's file in ``pointers/``."""

    stage: StageName
    fingerprint: Fingerprint


class PendingChange(Record):
    """``pending.json``: a change of a copy that can only be completed."""

    move: list[InnerName]
    remove: list[InnerName]


class Sums(RootModel[dict[InnerName, _Sha256]]):
    """``.sha256.json``: what a copy knows about its own files."""


class StageReport(RootModel[_Walkable]):
    """``report.json`` of a result."""


class TrainingReport(Record):
    """``report.json`` of a model; the fingerprint of the features that it learned from, if any."""

    features: Fingerprint | None = None


class Verdict(Record):
    """The verdict of an experiment's blocking tests of one kind."""

    fingerprint: _Text
    failures: list[str]


def read_stored(path: Path, shape: type[BaseModel], most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the content of a record, as plain values.

    Raises:
        FileNotFoundError: There is no such file.
        StorageError: It is no regular file, is damaged, or has another shape; names the file, the key and the value.
    """
    try:
        return parse_stored(read_bytes(path, most_bytes), str(path), shape)
    except FileError as error:
        raise StorageError(str(error)) from error


def parse_stored(content: bytes, where: str, shape: type[BaseModel]) -> dict[str, Any]:
    """Return the content of a record that was read already; ``where`` names its file.

    Raises:
        StorageError: It is damaged, or has another shape.
    """
    try:
        value = parse_record(content, where)
        shape.model_validate(value)
    except FileError as error:
        raise StorageError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part != "[key]")
        got = "" if first["type"] == "missing" else f" (got {shorten(first['input'])})"
        pattern = _EXPECTED.get(first.get("ctx", {}).get("pattern", ""))
        said = first["msg"].removeprefix("Value error, ")
        expected = f"expected {pattern}" if pattern else said[0].lower() + said[1:]
        raise StorageError(f"{where}: {shorten(key)}: {expected}{got}") from None
    return value
