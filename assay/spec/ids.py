"""Experiment IDs: which are valid, and how new ones are generated; run IDs.

Belongs here: rules on names. Does not belong here: where experiments are stored.
"""

import re
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from assay.errors import IdError, shorten

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
SHORTEST_ID = 4

DEVICE_NAMES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))])
RESERVED_IDS = frozenset({"latest", "all", "none", "null", "default", "examples"}) | DEVICE_NAMES
"""Words with a special meaning in commands, and names that Windows reserves for devices."""


CHAMPION = "champion"
"""Stands for the champion of a board in commands; ``champion:NAME`` for that of the board NAME. New experiments can't
have this ID; those that had it before boards existed keep it."""


def validate_id(text: str) -> str:
    """Return ``text`` if it may name an experiment.

    Raises:
        IdError: It is empty, too long, reserved, or contains characters other than a-z, 0-9, - and _.
    """
    if not isinstance(text, str) or not ID_PATTERN.fullmatch(text):
        raise IdError(
            f"Experiment ID {shorten(text)} is not valid: expected 1 to 63 characters from a-z, 0-9, '-' and '_', "
            f"the first a letter or digit. Nearest valid: {suggest_id(str(text))!r}."
        )
    if text in RESERVED_IDS:
        raise IdError(f"Experiment ID {text!r} is reserved. Nearest valid: {suggest_id(text)!r}.")
    return text


def is_id(name: str) -> bool:
    """Return whether a name may be an experiment's ID."""
    try:
        validate_id(name)
    except IdError:
        return False
    return True


def suggest_id(text: str) -> str:
    """Return a valid ID that looks like ``text``."""
    cleaned = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:60]
    return f"{cleaned}-1" if cleaned in RESERVED_IDS else cleaned or "experiment"


def invent_id(taken: Collection[str], choose: Callable[[str], str] = secrets.choice) -> str:
    """Return a short base-36 ID that is not in ``taken``; it gets longer once a quarter of the short ones is used.

    Args:
        taken: All IDs that were ever used, including those of removed experiments.
        choose: Function that picks one character of a string.
    """
    known = set(taken) | RESERVED_IDS
    length = SHORTEST_ID
    while sum(len(name) == length for name in known) * 4 >= len(ALPHABET) ** length:
        length += 1
    while True:
        candidate = "".join(choose(ALPHABET) for _ in range(length))
        if candidate not in known:
            return candidate


def new_run_id(now: datetime | None = None, random_part: str | None = None) -> str:
    """Return a run ID that sorts by time and never repeats: UTC to the microsecond and 48 random bits."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H.%M.%S.%fZ}-{random_part or secrets.token_hex(6)}"
