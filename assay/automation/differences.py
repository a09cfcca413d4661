"""What changed between two specs, key by key, in words.

Belongs here: comparing plain values. Does not belong here: what a change means for the stages.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from assay.secrets import without_keys
from assay.spec.dotted import flatten

LONGEST_VALUE = 60
"""Characters of a value that a message shows."""

ABSENT = object()


class Change(NamedTuple):
    """One key whose value is another one."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"


def changes_between(
    old: Mapping[str, Any], new: Mapping[str, Any], hidden: Collection[str] = frozenset()
) -> list[Change]:
    """Return the keys that differ, with dots between levels, in the order of ``new``; lists count as one value.

    Args:
        old: Plain values, mappings at any depth.
        new: The same, later.
        hidden: Names of keys, at any depth, that are left out, as are those that look like secrets.
    """
    before, after = (flatten(without_keys(dict(values), frozenset(hidden))) for values in (old, new))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [Change(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    return [change for change in pairs if change.old != change.new]


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
