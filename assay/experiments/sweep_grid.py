"""The grid of a sweep: which keys take which values, and all combinations of them.

Belongs here: reading ``KEY=VALUE,VALUE`` and multiplying. Does not belong here: whether a combination is valid.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from assay.errors import SpecError
from assay.spec.yaml_text import read_value
from assay.sweeps.keys import full_key

MOST_COMBINATIONS = 10_000


@dataclass(frozen=True)
class Axis:
    """One key and the values that it takes, in the order given."""

    key: str
    values: tuple[Any, ...]


def read_axis(text: str, keys: Collection[str]) -> Axis:
    """Return ``epochs=5,10`` as an axis.

    Values are YAML separated by commas, or one YAML list: ``a,b`` and ``[a, b]`` are the same two values. Values that
    are lists themselves are written ``[a, b],[c]``, or one of them alone ``[[a, b]]``.

    Args:
        text: Key, possibly shortened, and values.
        keys: All keys there are.

    Raises:
        SpecError: There is no ``=``, no value, no such key, or what follows is not YAML.
    """
    name, equals, listed = text.partition("=")
    if not equals or not name.strip():
        raise SpecError("--grid", [f"got {text!r}; expected KEY=VALUE,VALUE, such as epochs=5,10"])
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
        raise SpecError("--grid", [f"the values of {text!r} are not YAML; {expected}"]) from error
    return values


def combinations(axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """Return one mapping from key to value per combination; the last axis varies fastest.

    Raises:
        SpecError: A key is given twice, or lies inside of another, or there are too many combinations.
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
