"""The grid of a sweep: keys, their values, and all combinations.

Belongs here: parsing ``KEY=VALUE,VALUE``, expanding shortened keys, combinations. Does not belong here: whether a
combination is valid (``sweeps``).
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.errors import MAX_CHOICES, SpecError, nearest, shorten
from assay.spec.loading import spec_keys
from assay.spec.yaml_text import read_value

MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Axis:
    """One key and its values, in the given order."""

    key: str
    values: tuple[Any, ...]


def read_axis(text: str, keys: Collection[str]) -> Axis:
    """Parse an axis such as ``epochs=5,10``.

    The values are YAML values separated by commas, or one YAML list: ``a,b`` and ``[a, b]`` are the same two values.
    Values that are lists are written as ``[a, b],[c]``, and a single one as ``[[a, b]]``.

    Args:
        text: Key, possibly shortened, and values.
        keys: All existing keys.

    Raises:
        SpecError: The text has no ``=`` or no values, the key does not exist, or the values are not YAML.
    """
    name, equals, listed = text.partition("=")
    if not equals or not name.strip():
        raise SpecError("--grid", [f"got {shorten(text)}; expected KEY=VALUE,VALUE, such as epochs=5,10"])
    key = full_key(name.strip(), keys)
    values = _read_list(text, listed)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    if not values:
        raise SpecError("--grid", [f"{key} has no values; expected some, such as {name.strip()}=5,10"])
    return Axis(key, tuple(values))


def _read_list(text: str, listed: str) -> list[Any]:
    try:
        values: list[Any] = read_value(f"[{listed}]")
    except SpecError as error:
        expected = "expected values separated by commas, texts with commas in quotes"
        raise SpecError("--grid", [f"the values of {shorten(text)} are not YAML; {expected}"]) from error
    return values


def combinations(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return one mapping from key to value per combination; the last axis varies fastest.

    Raises:
        SpecError: A key is given twice, a key contains another one, or there are too many combinations.
    """
    for first, second in itertools.combinations(axes, 2):
        inner, outer = sorted((first.key, second.key), key=len, reverse=True)
        if inner == outer:
            raise SpecError("--grid", [f"{inner} is given twice; put all its values into one --grid"])
        if inner.startswith(f"{outer}."):
            raise SpecError("--grid", [f"{inner} lies inside of {outer}; vary one of them"])
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_COMBINATIONS:
        raise SpecError("--grid", [f"makes {count:,} combinations; expected at most {MOST_COMBINATIONS:,}"])
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def sweepable_keys(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys at every depth: those of all built-in kinds, and those in ``values``.

    Args:
        values: A resolved spec, which may use kinds of installed packages.
    """
    return set(spec_keys()) | set(_keys_of(values, ""))


def _keys_of(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _keys_of(value, f"{prefix}{name}.")


def full_key(name: str, keys: Collection[str]) -> str:
    """Return the full key of a shortened one: ``epochs`` is ``trained_model.train_params.epochs``.

    Raises:
        SpecError: No key, or more than one, ends in ``name``; the message lists the candidates.
    """
    if name in keys:
        return name
    found = sorted(key for key in keys if key.endswith(f".{name}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(f"key {shorten(name)}", [f"could be any of {_listed(found)}. Write more of it."])
    raise SpecError(f"key {shorten(name)}", [f"does not exist. {_resembling(name, keys)}"])


def _resembling(name: str, keys: Collection[str]) -> str:
    """Return a sentence with the keys whose last part equals or resembles that of ``name``."""
    last = name.rpartition(".")[2]
    by_last: dict[str, list[str]] = {}
    for key in sorted(keys):
        by_last.setdefault(key.rpartition(".")[2], []).append(key)
    guess = last if last in by_last else nearest(last, by_last)
    if guess is None:
        return f"Sections: {', '.join(sorted(key for key in keys if '.' not in key))}."
    if "." not in name and guess in keys:
        return f"Did you mean {guess!r}?"
    return f"Did you mean {_listed(by_last[guess])}?"


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - MAX_CHOICES} more" if len(keys) > MAX_CHOICES else ""
    return ", ".join(keys[:MAX_CHOICES]) + more
