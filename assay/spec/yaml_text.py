"""YAML: safe loading of plain values within limits, stable dumping; and nested keys as dotted names.

A dotted name such as ``trained_model.train_params.epochs`` addresses a key at any depth.

Text that somebody else wrote may be nested so deeply that the parser's stack overflows, repeat itself through aliases
until memory is full, or hold values that no key has. Its events are therefore counted before anything is built.

Scalars are read as in YAML 1.2, where only true and false are truth values: ``no``, ``on``, ``010``, ``1:30`` and
``2024-01-01`` are texts, which keys for truth values and whole numbers still accept (``rotate: no``).

Belongs here: from text to plain values and back. Does not belong here: which keys exist.
"""

import json
import re
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import yaml

from assay.errors import SpecError, printable, shorten
from assay.spec.plugins import import_path_refused

MAX_CHARACTERS = 1_000_000

MOST_NODES = 200_000
"""Largest number of keys, values and sections in a text, those that aliases repeat included."""

MOST_DEPTH = 50
"""Largest number of sections and lists inside each other."""

MOST_BITS = 1000
"""Largest whole number, in bits; Python writes no more than 4,300 digits."""

_TAG = "tag:yaml.org,2002:"

_PLAIN_TAGS = frozenset(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")) | {"!"}
"""Tags that a text may give its values: those of JSON."""

# libyaml's parser is ten times as fast, its emitter six times. It is part of PyYAML's wheels, but not of every build.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FastSafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

_LONGEST_KEY = 100
"""Characters of a key that both emitters write alike; how they mark longer ones differs."""

_FLOAT = re.compile(r"[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+)$")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$")
# Python converts no more than 4,300 digits; a number of more than 300 is larger than any that a key may have.
_INT = re.compile(r"[-+]?(?:0|[1-9][\d_]{0,300}|0b[01_]{1,300}|0x[\da-fA-F_]{1,300})$")


class _Loader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with the scalars of YAML 1.2, and for which a duplicate key is an error."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        wrong = next((key for key, _ in node.value if not isinstance(key, yaml.ScalarNode)), None)
        if wrong is not None:
            raise _error(node, wrong, "a key is a list or a section; expected a text")
        keys = [key for key, _ in node.value]  # before those of sections that are merged come in front of them
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(keys) or len(node.value) > len(keys):
            self._refuse_duplicates(node, keys)
        return mapping

    def _refuse_duplicates(self, node: yaml.MappingNode, keys: list[yaml.ScalarNode]) -> None:
        seen: set[Any] = set()
        for key_node in keys:
            key = "<<" if key_node.tag == f"{_TAG}merge" else self.construct_object(key_node, deep=True)
            if key in seen:
                raise _error(node, key_node, f"key {shorten(key)} is given twice")
            seen.add(key)


def _error(node: yaml.Node, place: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError("while reading a section", node.start_mark, problem, place.start_mark)


for _name, _pattern, _first in (
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    ("null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("float", _INFINITE, "-+."),
    ("merge", re.compile(r"<<$"), "<"),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", _pattern, list(_first))


class _WordLoader(_Loader):
    """Takes numbers for texts, which keeps ``1.50`` and ``0x1F`` as they are written."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {
        first: [(tag, pattern) for tag, pattern in found if tag not in (f"{_TAG}int", f"{_TAG}float")]
        for first, found in _Loader.yaml_implicit_resolvers.items()
    }


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which also quotes texts such as ``1e-3`` that are numbers only to this module's reader."""


class _FastDumper(_FastSafeDumper):  # type: ignore[misc]
    """The same with libyaml's emitter."""


for _dumper in (_Dumper, _FastDumper):
    _dumper.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+0123456789."))


def read_mapping(text: str, source: str, limit_factor: int = 1, numbers_as_texts: bool = False) -> dict[str, Any]:
    """Parse YAML text whose top level must be a mapping.

    Args:
        text: The text.
        source: Where it is from, for messages.
        limit_factor: How many times as large as a text that a person writes it may be.
        numbers_as_texts: Whether numbers are texts, as they are written.

    Raises:
        SpecError: The text is empty, too large, not YAML, not a mapping, or has a duplicate key; names ``source``.
    """
    value = _read(text, source, " (half-saved?)", limit_factor, _WordLoader if numbers_as_texts else _Loader)
    if value is None:
        raise SpecError(source, ["is empty (half-saved?); expected at least 'task: regression'"])
    if not isinstance(value, dict):
        raise SpecError(source, [f"holds a {type(value).__name__}; expected keys such as 'task: regression'"])
    wrong = next((key for key in value if not isinstance(key, str)), None)
    if wrong is not None or None in value:
        raise SpecError(source, [f"has the key {shown(wrong)}, which is no text; expected keys such as 'task'"])
    return value


def read_value(text: str) -> Any:
    """Parse one YAML value, such as ``3``, ``1e-3``, ``[1, 2]`` or ``{kind: mlp}``.

    Raises:
        SpecError: The text is too large, or not YAML.
    """
    return _read(text, f"value {shorten(text)}")


def _read(text: str, source: str, guess: str = "", limit_factor: int = 1, loader: type[_Loader] = _Loader) -> Any:
    if len(text) > (most := limit_factor * MAX_CHARACTERS):
        raise SpecError(source, [f"is {len(text):,} characters long; expected at most {most:,}"])
    try:
        _check_events(text, limit_factor * MOST_NODES)
        return yaml.load(text, Loader=loader)  # noqa: S506 - a subclass of the safe loader
    except _ExcessError as error:
        raise SpecError(source, [_one_line(error)]) from error
    except yaml.YAMLError as error:
        raise SpecError(source, [f"is not valid YAML{guess}: {_one_line(error)}"]) from error
    except UnicodeEncodeError as error:
        raise SpecError(source, [f"holds half of a character at position {error.start + 1:,}"]) from error
    except (ValueError, LookupError) as error:  # "!!int foo"
        raise SpecError(source, [f"a value contradicts its tag: {error}; leave the tag (!!…) out"]) from error


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


class _ExcessError(yaml.MarkedYAMLError):
    """Valid YAML that no file of ours needs, and that may take all memory or stack."""


@dataclass
class _Size:
    """How many nodes a node stands for, and how many sections and lists are inside each other, with repeated ones."""

    nodes: int = 1
    depth: int = 0

    def add(self, inner: "_Size") -> None:
        self.nodes += inner.nodes
        self.depth = max(self.depth, inner.depth + 1)


def _check_events(text: str, most_nodes: int) -> None:
    """Refuse what would not fit into stack or memory once built; libyaml parses events without recursion.

    Raises:
        yaml.YAMLError: The text is no YAML.
        _ExcessError: It has too many nodes, is nested too deeply, an alias repeats a section within itself, or a value
            has another tag than those of JSON.
    """
    open_nodes = [(_Size(depth=1), "")]
    anchors: dict[str, _Size] = {}
    seen = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            size, anchor = open_nodes.pop()
            anchors[anchor] = size
            open_nodes[-1][0].add(size)
        elif isinstance(event, yaml.NodeEvent):
            seen += 1
            _check_tag(event)
            if isinstance(event, yaml.CollectionStartEvent):
                open_nodes.append((_Size(depth=1), event.anchor or ""))
            else:
                open_nodes[-1][0].add(_size_of(event, anchors))
        if max(seen, open_nodes[-1][0].nodes) > most_nodes:
            raise _limit(event, f"there are more than {most_nodes:,} keys and values, with what aliases repeat")
        if len(open_nodes) - 2 + open_nodes[-1][0].depth > MOST_DEPTH:
            raise _limit(event, f"more than {MOST_DEPTH} sections or lists are inside each other")


def _size_of(event: yaml.NodeEvent, anchors: dict[str, _Size]) -> _Size:
    """Return the size of a scalar or alias, which repeats a node that is complete."""
    if not isinstance(event, yaml.AliasEvent):
        if event.anchor:
            anchors[event.anchor] = _Size()
        return _Size()
    if event.anchor not in anchors:
        raise _limit(event, f"the alias *{event.anchor} repeats what has no end yet, or what there is not")
    return anchors[event.anchor]


def _check_tag(event: yaml.NodeEvent) -> None:
    tag = getattr(event, "tag", None)
    if tag and tag not in _PLAIN_TAGS:
        name = tag.replace(_TAG, "!!")
        if name.startswith("!!python/"):
            raise _limit(event, f"the tag {shorten(name)} is not allowed: {import_path_refused('assay.…')}")
        raise _limit(event, f"the tag {shorten(name)} is not allowed; expected plain values, texts in quotes")


def _limit(event: Any, problem: str) -> _ExcessError:
    return _ExcessError(problem=problem, problem_mark=event.start_mark)


def excess(values: Any) -> str:
    """Return why plain values that came without a text can't be a spec: too many, too deep, no Unicode; else empty."""
    pending = [(values, 0)]
    seen = 0
    while pending:
        value, depth = pending.pop()
        seen += 1
        inner = [*value, *value.values()] if isinstance(value, Mapping) else value
        pending += [(each, depth + 1) for each in inner] if isinstance(inner, list | tuple) else []
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            return "holds a number of hundreds of digits"
        if isinstance(value, str) and not value.isprintable() and value.encode(errors="replace").decode() != value:
            return f"holds half of a character, in {shorten(value)}"
        if seen + len(pending) > MOST_NODES:
            return f"holds more than {MOST_NODES:,} values"
        if depth > MOST_DEPTH:
            return f"holds more than {MOST_DEPTH} sections or lists inside each other"
    return ""


def to_yaml(value: Any) -> str:
    """Return block-style YAML with the keys in their given order; equal values give equal text, in every build."""
    if _has_plain_keys(value):
        with suppress(UnicodeEncodeError):  # half of a character
            text = _dumped(value, _FastDumper)
            if "\\" not in text:  # what is escaped, and where such a text is folded, differs
                return text
    return _dumped(value, _Dumper)


def _dumped(value: Any, dumper: type[yaml.SafeDumper]) -> str:
    text: str = yaml.dump(value, Dumper=dumper, sort_keys=False, allow_unicode=True, width=110)
    return text


def _has_plain_keys(value: Any) -> bool:
    """Return whether libyaml writes all keys as PyYAML's own emitter does."""
    if isinstance(value, dict):
        keys_fit = all(0 < len(key) <= _LONGEST_KEY for key in value if isinstance(key, str))
        return keys_fit and all(map(_has_plain_keys, value.values()))
    return not isinstance(value, list | tuple) or all(map(_has_plain_keys, value))


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
    return printable(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def brief(value: Any) -> str:
    """Return a value like ``shown``, with floats rounded to six significant digits."""
    return f"{value:.6g}" if isinstance(value, float) else shown(value)
