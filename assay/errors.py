"""The errors that users of Assay may see; each says what is wrong and what to do next.

Belongs here: the exception classes and the text that their messages share. Does not belong here: deciding when to
raise.
"""

import difflib
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MAX_CHOICES = 30
"""How many valid names a message lists."""

MAX_PROBLEMS = 20
"""How many problems a message lists."""

LONGEST_LINE = 2000
"""Characters of a problem that a message shows: values that users wrote may be of any length."""

LONGEST_NAME = 100
"""Characters of a name that is compared with others; what is longer was not mistyped."""


class AssayError(Exception):
    """Base class of all errors that are caused by the user's input, data or machine; the text can be printed safely."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


def printable(text: str) -> str:
    """Return a text with escapes in place of what acts on a terminal: control characters, and halves of characters.

    Names of files and values of specs may contain them. Line breaks and all kinds of spaces are kept.
    """
    if text.isprintable():
        return text
    return "".join(char if _is_harmless(char) else char.encode("unicode_escape").decode() for char in text)


def one_line(text: str) -> str:
    """Return a printable text without line breaks, which could pass for a message of their own."""
    return printable(text).replace("\n", "\\n")


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char == "\n" or unicodedata.category(char) == "Zs"


def shorten(text: object, length: int = 80) -> str:
    """Return ``text`` quoted for a message, truncated if it is long."""
    try:
        quoted = repr(text)
    except ValueError:  # Python writes no more than 4,300 digits
        return "a number of thousands of digits"
    count = len(text) if isinstance(text, str) else len(quoted)
    return quoted if len(quoted) <= length else f"{quoted[:length]}… ({count:,} characters)"


class IdError(AssayError):
    """An experiment ID that is not valid, is reserved, or is already taken."""


class DataError(AssayError):
    """Input data that can't be used; ``problems`` lists every problem, not only the first."""

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.summary = summary
        self.problems = list(problems)
        super().__init__("\n".join([summary, *(f"  - {problem}" for problem in _listed(self.problems))]))


class FileError(AssayError):
    """A file that can't be read as what it should be: no regular file, too large, or damaged.

    Attributes:
        path: The file.
        reason: What is wrong, such as ``"is a pipe (FIFO); expected a regular file"``.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{one_line(str(path))}: {reason}")


class StorageError(AssayError):
    """A result that can't be written or read, or that differs from its manifest."""


class UnreachableError(StorageError):
    """A location that can't be reached at the moment; the same may succeed later."""


class NotThereYetError(StorageError):
    """Something is missing that may appear later, such as the model of an experiment that is still training."""


class InUseError(StorageError):
    """A lock that another process holds, and that was not free in time."""


class ServerError(AssayError):
    """A Dagster web server that does not respond, serves something else, or rejects a request."""


class TrainingError(AssayError):
    """A training that can't continue, for example because the loss is not finite."""


class SpecError(AssayError):
    """A spec that can't be read or is not valid; ``problems`` holds one line per wrong key."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        super().__init__("\n".join(f"{one_line(source)}: {problem}" for problem in _listed(self.problems)))


def _listed(problems: Sequence[str]) -> list[str]:
    shown = [each if len(each) <= LONGEST_LINE else f"{each[:LONGEST_LINE]}…" for each in problems[:MAX_PROBLEMS]]
    more = len(problems) - len(shown)
    return [*shown, *([f"… and {more:,} more"] if more else [])]


def nearest(name: str, choices: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the choice most similar to ``name``, or None if none is similar by more than ``cutoff`` (0 to 1).

    Upper and lower case, spaces around a name and its spelling in Unicode make no difference.
    """
    if len(name) > LONGEST_NAME:
        return None
    by_plain = {_plain(choice): choice for choice in reversed(list(choices))}
    matches = difflib.get_close_matches(_plain(name), list(by_plain), n=1, cutoff=cutoff)
    return by_plain[matches[0]] if matches else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def unknown(what: str, name: Any, choices: Iterable[str]) -> str:
    """Return the message for a name that does not exist: the name, the most similar one, and the choices."""
    names = sorted(choices)
    guess = nearest(str(name), names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    shown = ", ".join(names[:MAX_CHOICES]) or "none"
    more = f" and {len(names) - MAX_CHOICES} more" if len(names) > MAX_CHOICES else ""
    return f"{what} {shorten(name)} does not exist.{hint} Choices: {shown}{more}."
