"""The errors that users of Assay may see; each says what is wrong and what to do next.

Belongs here: the exception classes and the text that their messages share. Does not belong here: deciding when to
raise.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MAX_CHOICES = 30
"""How many valid names a message lists."""


class AssayError(Exception):
    """Base class of all errors that are caused by the user's input, data or machine."""


class IdError(AssayError):
    """An experiment ID that is not valid, is reserved, or is already taken."""


class DataError(AssayError):
    """Input data that can't be used; ``problems`` lists every problem, not only the first."""

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.summary = summary
        self.problems = list(problems)
        shown = [f"  - {problem}" for problem in self.problems[:20]]
        if len(self.problems) > len(shown):
            shown.append(f"  - … and {len(self.problems) - len(shown)} more")
        super().__init__("\n".join([summary, *shown]))


class FileError(AssayError):
    """A file that can't be read as what it should be: no regular file, too large, or damaged.

    Attributes:
        path: The file.
        reason: What is wrong, such as ``"is a pipe (FIFO); expected a regular file"``.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class StorageError(AssayError):
    """A result that can't be written or read, or that differs from its manifest."""


class NotThereYetError(StorageError):
    """Something is missing that may appear later, such as the model of an experiment that is still training."""


class ServerError(AssayError):
    """A Dagster web server that does not respond, serves something else, or rejects a request."""


class TrainingError(AssayError):
    """A training that can't continue, for example because the loss is not finite."""


class SpecError(AssayError):
    """A spec that can't be read or is not valid; ``problems`` holds one line per wrong key."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most similar to ``name``, or None if none is similar."""
    matches = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(what: str, name: Any, choices: Iterable[str]) -> str:
    """Return the message for a name that does not exist: the name, the most similar one, and the choices."""
    names = sorted(choices)
    guess = nearest(str(name), names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    shown = ", ".join(names[:MAX_CHOICES]) or "none"
    more = f" and {len(names) - MAX_CHOICES} more" if len(names) > MAX_CHOICES else ""
    return f"{what} {name!r} does not exist.{hint} Choices: {shown}{more}."
