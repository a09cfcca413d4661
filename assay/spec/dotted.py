"""Keys of all depths as one name with dots, such as ``trained_model.train_params.epochs``.

Belongs here: to dots and back, and how such keys are shown. Does not belong here: which keys exist.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return one entry per value; a list, and an empty mapping, count as one value."""
    return dict(_pairs(values, ""))


def _pairs(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": 1, "a.c": 2}`` as ``{"a": {"b": 1, "c": 2}}``; no key may lie inside of another."""
    result: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result


def short_names(keys: Collection[str]) -> dict[str, str]:
    """Return the shortest ending of each key that none of the others shares: ``epochs``, ``source.width``."""
    endings: dict[str, int] = {}
    for key in keys:
        for ending in _endings(key):
            endings[ending] = endings.get(ending, 0) + 1
    return {key: next((ending for ending in _endings(key) if endings[ending] == 1), key) for key in keys}


def _endings(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def shown(value: Any) -> str:
    """Return a value as it would stand in the file, on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def brief(value: Any) -> str:
    """Return a value like ``shown``, but a fraction with six digits only."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
