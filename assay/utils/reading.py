"""Reading a file that someone else may have written: regular files only, bounded bytes, one error.

A path that a user names may lead to a pipe (opening it would wait for ever), to a device (reading it would never end)
or to a file of any size; text may hold numbers of 5,000 digits or 100,000 brackets. All of these are a ``FileError``.

Belongs here: from a path to bytes, text or JSON. Does not belong here: what the content must look like.
"""

import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assay.errors import FileError

MOST_BYTES = 64 * 2**20
"""Limit of files whose size is not the user's choice: our own records, label files, configurations."""

_CHUNK = 2**20

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def kind_of(mode: int) -> str:
    """Return what a mode of ``os.stat`` stands for, such as ``"a folder"``."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "a regular file")


@contextmanager
def open_regular(path: Path, most_bytes: int | None = None) -> Iterator[io.BufferedReader]:
    """Open a regular file, which links may lead to, for reading bytes; for files too large to hold in memory.

    Args:
        path: The file.
        most_bytes: Largest size in bytes; None: any.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: It is no regular file, too large, or can't be read.
    """
    try:
        _require_regular(path, Path(path).stat(), most_bytes)  # opening a device may already do something
        # The file may be another one by now; without O_NONBLOCK, opening a pipe waits for someone who writes to it.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _require_regular(path, os.fstat(file.fileno()), most_bytes)
            yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise FileError(path, f"can't be read: {getattr(error, 'strerror', None) or error}") from error


def user_path(text: str) -> Path:
    """Return the path that a user wrote; ``~`` is the home folder, and ``~name`` stays where nobody has that name."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises RuntimeError for unknown users


def read_bytes(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """Return the whole content of a regular file, which links may lead to.

    Args:
        path: The file.
        most_bytes: Largest size in bytes.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: It is no regular file, too large, or can't be read.
    """
    with open_regular(path, most_bytes) as file:
        # Asking for the limit would reserve that much memory; the size may be wrong (/proc), or change meanwhile.
        content = file.read(os.fstat(file.fileno()).st_size + 1)
        while len(content) <= most_bytes and (more := file.read(min(_CHUNK, most_bytes + 1 - len(content)))):
            content += more
    if len(content) > most_bytes:
        raise FileError(path, _too_large(len(content), most_bytes))
    return content


def _require_regular(path: Path, status: os.stat_result, most_bytes: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise FileError(path, f"is {kind_of(status.st_mode)}; expected a regular file")
    if most_bytes is not None and status.st_size > most_bytes:
        raise FileError(path, _too_large(status.st_size, most_bytes))


def _too_large(size: int, most: int) -> str:
    return f"holds {size:,} bytes or more; expected at most {most:,}"


def read_text(path: Path, most_bytes: int = MOST_BYTES, encoding: str = "utf-8") -> str:
    """Return the text of a regular file.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: See ``read_bytes``; or it is no text in this encoding.
    """
    content = read_bytes(path, most_bytes)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileError(path, f"is no text in {encoding}: {error.reason} at byte {error.start:,}") from error


def read_json(path: Path, most_bytes: int = MOST_BYTES, huge_as_infinity: bool = False) -> Any:
    """Return the value of a JSON file.

    Args:
        path: The file.
        most_bytes: Largest size in bytes.
        huge_as_infinity: Whether a whole number of thousands of digits is infinite, as 1e999 is, rather than an error.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: See ``read_bytes``; or it is no JSON, is nested too deeply, or holds a number of too many digits.
    """
    return parse_json(read_bytes(path, most_bytes), path, huge_as_infinity)


def parse_json(content: bytes, path: Path | str, huge_as_infinity: bool = False) -> Any:
    """Return the value of JSON that was read already, see ``read_json``; ``path`` names its file in messages.

    Raises:
        FileError: It is no JSON, is nested too deeply, or holds a number of too many digits.
    """
    try:
        return _loads(content, huge_as_infinity)
    except json.JSONDecodeError as error:
        reason = f"is no JSON, or cut off: line {error.lineno}, column {error.colno}: {error.msg}"
        raise FileError(path, reason) from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"is no JSON: {error.reason} at byte {error.start:,}; save it as UTF-8") from error
    except RecursionError:
        raise FileError(path, "is JSON of too many nested brackets") from None
    except ValueError as error:  # Python converts no more than 4,300 digits
        raise FileError(path, "is JSON with a number of thousands of digits") from error


def _loads(content: bytes, huge_as_infinity: bool) -> Any:
    try:
        return json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:
        if not huge_as_infinity:
            raise
        return json.loads(content, parse_int=_int_or_infinity)


def _int_or_infinity(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)


def read_record(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the keys of a JSON file that must hold one object, as manifests and records do.

    Raises:
        FileNotFoundError: There is no such file.
        FileError: See ``read_json``; or it holds something else than an object.
    """
    return parse_record(read_bytes(path, most_bytes), path)


def parse_record(content: bytes, path: Path | str) -> dict[str, Any]:
    """Return the keys of JSON that was read already, see ``read_record``; ``path`` names its file in messages.

    Raises:
        FileError: See ``parse_json``; or it holds something else than an object.
    """
    value = parse_json(content, path)
    if not isinstance(value, dict):
        raise FileError(path, f"holds a JSON {type(value).__name__}; expected an object with keys")
    return value
