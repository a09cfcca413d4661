"""YAML: safe loading that refuses duplicate keys, stable dumping; and nested keys as dotted names.

A dotted name such as ``trained_model.train_params.epochs`` addresses a key at any depth.

Belongs here: from text to plain values and back. Does not belong here: which keys exist.
"""

import json
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from typing import Any

import yaml

from assay.errors import SpecError
from assay.spec.ids import shorten

MAX_CHARACTERS = 1_000_000

# libyaml's parser is ten times as fast. It is part of PyYAML's wheels, but not of every build.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, except that a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    "while reading a section",
                    node.start_mark,
                    f"key {key!r} is given twice",
                    key_node.start_mark,
                )
            seen.add(key if isinstance(key, Hashable) else repr(key))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


# YAML 1.1 does not read ``1e-3`` as a number, only ``1.0e-3``.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_mapping(text: str, source: str) -> dict[str, Any]:
    """Parse YAML text whose top level must be a mapping.

    Raises:
        SpecError: The text is empty, too large, not YAML, not a mapping, or has a duplicate key; names ``source``.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpecError(source, [f"is {len(text):,} characters long; expected at most {MAX_CHARACTERS:,}"])
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        raise SpecError(source, [f"is not valid YAML (half-saved?): {_one_line(error)}"]) from error
    if value is None:
        raise SpecError(source, ["is empty (half-saved?); expected at least 'task: regression'"])
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise SpecError(source, [f"holds a {type(value).__name__}; expected keys such as 'task: regression'"])
    return value


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def read_value(text: str) -> Any:
    """Parse one YAML value, such as ``3``, ``1e-3``, ``[1, 2]`` or ``{kind: mlp}``.

    Raises:
        SpecError: The text is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        raise SpecError(f"value {shorten(text)}", [f"is not valid YAML: {_one_line(error)}"]) from error


def to_yaml(value: Any) -> str:
    """Return block-style YAML with the keys in their given order; equal values give equal text."""
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=110)
    return text


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all values by dotted name; a list, or an empty mapping, counts as one value."""
    return dict(_pairs(values, ""))


def _pairs(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _pairs(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": 1, "a.c": 2}`` as ``{"a": {"b": 1, "c": 2}}``; no key may be inside another one."""
    result: dict[str, Any] = {}
    for key, value in changes.items():
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result


def short_names(keys: Collection[str]) -> dict[str, str]:
    """Return the shortest unique ending of each key, such as ``epochs`` or ``source.width``."""
    endings: dict[str, int] = {}
    for key in keys:
        for ending in _endings(key):
            endings[ending] = endings.get(ending, 0) + 1
    return {key: next((ending for ending in _endings(key) if endings[ending] == 1), key) for key in keys}


def _endings(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[start:]) for start in reversed(range(len(parts)))]


def shown(value: Any) -> str:
    """Return a value as written in the file, on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def brief(value: Any) -> str:
    """Return a value like ``shown``, with floats rounded to six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
