"""Every error that a user of Assay can meet, each carrying its evidence and the next step.

Belongs here: the exception tree and the words that its messages share.
Does not belong here: deciding when to raise.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

MAX_CHOICES = 30
"""How many valid names a message lists."""


class AssayError(Exception):
    """Base of all errors that say what is wrong with the user's input, data or machine."""


class IdError(AssayError):
    """An experiment ID that is not valid, is reserved, or is already taken."""


class DataError(AssayError):
    """Input data that can't be used; lists every problem found, not only the first."""

    def __init__(self, summary: str, problems: Sequence[str] = ()) -> None:
        self.summary = summary
        self.problems = list(problems)
        shown = [f"  - {problem}" for problem in self.problems[:20]]
        if len(self.problems) > len(shown):
            shown.append(f"  - … and {len(self.problems) - len(shown)} more")
        super().__init__("\n".join([summary, *shown]))


class StorageError(AssayError):
    """A result that can't be written, read, or is not what its manifest says."""


class NotThereYetError(StorageError):
    """Something is missing that may come about by itself, such as the model of an experiment that still trains."""


class ServerError(AssayError):
    """A Dagster web server that does not answer, serves something else, or refuses."""


class TrainingError(AssayError):
    """A training that can't go on, such as a loss that is not finite."""


class SpecError(AssayError):
    """A spec that can't be read or is not valid; ``problems`` holds one line per wrong key."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = list(problems)
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like ``name``, or None when nothing resembles it."""
    matches = difflib.get_close_matches(name.lower(), list(choices), n=1, cutoff=0.5)
    return matches[0] if matches else None


def unknown(what: str, name: Any, choices: Iterable[str]) -> str:
    """Return the sentence for a name that does not exist: what was given, the nearest, the choices."""
    names = sorted(choices)
    guess = nearest(str(name), names)
    hint = f" Did you mean {guess!r}?" if guess else ""
    shown = ", ".join(names[:MAX_CHOICES]) or "none"
    more = f" and {len(names) - MAX_CHOICES} more" if len(names) > MAX_CHOICES else ""
    return f"{what} {name!r} does not exist.{hint} Choices: {shown}{more}."
