"""The shipped examples, damaged at random: nothing but an error about the spec may leave its file.

A mutation deletes, duplicates, moves, retypes, deepens or enlarges a part of the tree, or changes characters of the
text. What is still valid must survive its own YAML, and automation must be able to compare it.
"""

import random
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from assay.automation.reconcile import UNKNOWN_SOURCE, expected_versions
from assay.automation.state import watched_path
from assay.errors import AssayError, printable
from assay.experiments.specs import TEMPLATES, template_text
from assay.spec.loading import load_spec, spec_from
from assay.spec.yaml_text import read_mapping, to_yaml
from tests.campaigns.campaign import Tried, command

EXAMPLES = Path(__file__).parents[2] / "experiments" / "examples"
MOST_CHARACTERS = 50_000
MOST_MUTATIONS = 4

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 64.0, 2.5, 1e308, float("nan"), float("inf"), 10**30, 10**299, -(2**63), 2**63),
    *("", " ", "x", "yes", "no", "010", "1:30", "2024-01-01", "2024-99-99", "1e-3", "~", "null", "<<", "*", "latest"),
    *(
        "\x1b[31m",
        "a\nb",
        "\u202e",
        "é" * 300,
        "x" * 5000,
        "../../etc",
        "/proc",
        "a\0b",
        "${HOME}",
        "$RUN_ID",
        "~nobody/x",
    ),
)

FRAGMENTS = (
    *("{", "}", "[", "]", ":", ": ", "- ", "? ", "&a ", "*a", "!!int ", "!!python/name:os ", "!x ", "<<: *a", "'", '"'),
    *("\n", "\n\n", "\t", "#", "%YAML 1.1\n", "---\n", "...\n", "| \n", "> \n", "@", "`", "\x00", "\x1b", "\ufeff"),
    *("[" * 60, "{a: " * 60, "1" * 5000, "&a [*a]", "0x", "1_0", ".nan", ".inf", "=", ",", "\\", "\u2028", "\r"),
)


@cache
def bases() -> tuple[str, ...]:
    """Return the texts that are damaged: the shipped examples and templates."""
    return (*(path.read_text() for path in sorted(EXAMPLES.glob("*.yaml"))), *map(template_text, TEMPLATES))


def mutated(rng: random.Random) -> tuple[str, str]:
    """Return a damaged text, and the kind of damage."""
    text = rng.choice(bases())
    if rng.random() < 0.7:
        tree = yaml.safe_load(text)
        kinds = [rng.choice(tuple(TREE)) for _ in range(rng.randint(1, MOST_MUTATIONS))]
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(20_000)  # PyYAML writes by recursion what was deepened several times
        for kind in kinds:
            parent, key = rng.choice(list(_places(tree)))
            TREE[kind](rng, tree, parent, key)
        text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        sys.setrecursionlimit(limit)
        if rng.random() < 0.8:
            return text, f"tree: {kinds[-1]}"
    kind = rng.choice(tuple(TEXT))
    for _ in range(rng.randint(1, MOST_MUTATIONS)):
        text = TEXT[kind](rng, text)
    return text, f"text: {kind}"


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every container of a tree with each of its keys."""
    found: list[tuple[Any, Any]] = []
    pending = [tree]
    while pending and len(found) < 2000:
        value = pending.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in list(items):
            found.append((value, key))
            pending.append(inner)
    return found or [({"a": 1}, "a")]


def _delete(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    del parent[key]


def _retype(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    parent[key] = rng.choice(SCALARS)


def _wrap(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    parent[key] = rng.choice(([parent[key]], [], {}, {"a": parent[key]}, [parent[key], parent[key]], {"kind": [1]}))


def _rename(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    if isinstance(parent, dict):
        new = rng.choice((*SCALARS, f"{key}x", f"{key}"[1:], f"{key}".upper(), ("a", "b")))
        parent[new] = parent.pop(key)


def _move(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    other, place = rng.choice(_places(tree))
    value = parent[key]
    other[place] = deepcopy(value)  # a tree within itself can't be written


def _deepen(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    value: Any = parent[key]
    for _ in range(rng.choice((3, 48, 60, 200))):
        value = [value] if rng.random() < 0.5 else {"a": value}
    parent[key] = value


def _enlarge(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    count = rng.choice((100, 3000))
    parent[key] = rng.choice((["a"] * count, {f"k{n}": n for n in range(count)}, "x" * count * 10))


def _alias(rng: random.Random, tree: Any, parent: Any, key: Any) -> None:
    if isinstance(parent[key], dict | list) and parent[key] is not tree:
        shared = {"a": parent[key]}
        parent[key] = [shared, shared]


TREE: dict[str, Callable[[random.Random, Any, Any, Any], None]] = {
    "delete": _delete,
    "retype": _retype,
    "wrap": _wrap,
    "rename": _rename,
    "move": _move,
    "deepen": _deepen,
    "enlarge": _enlarge,
    "alias": _alias,
}


def _cut(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.choice((1, 5, 50, 10_000)) :]


def _insert(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(FRAGMENTS) + text[place:]


def _repeat(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text) + 1)
    part = text[start : start + rng.choice((1, 20, 300))]
    return text[:start] + part * rng.choice((2, 3, 100)) + text[start:]


def _replace(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + rng.choice(FRAGMENTS) + text[start + rng.choice((1, 3, 10)) :]


def _indent(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    place = rng.randrange(len(lines))
    lines[place] = rng.choice(("  ", " ", "\t", "- ")) + lines[place]
    return "".join(lines)


TEXT: dict[str, Callable[[random.Random, str], str]] = {
    "cut": _cut,
    "insert": _insert,
    "repeat": _repeat,
    "replace": _replace,
    "indent": _indent,
}


def try_mutation(seed: int) -> Tried:
    """Load the damaged file of a seed."""
    text, kind = mutated(random.Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bad.yaml"
        path.write_bytes(text.encode(errors="surrogatepass"))
        try:
            spec = load_spec(path)
        except AssayError as error:
            return Tried(kind, _wrong_with(str(error), str(path)))
    if spec.existing_experiment is None or spec.found is not None:
        expected_versions(spec, "bad", UNKNOWN_SOURCE)
        watched_path(spec.generated_images.source)
    again = spec_from(read_mapping(to_yaml(spec.as_dict()), "again"), "again")
    return Tried(kind, "" if again == spec else "does not survive its own YAML")


def _wrong_with(message: str, source: str) -> str:
    faults = {
        "does not name the file": not message.startswith(source),
        "acts on a terminal": printable(message) != message,
        f"has {len(message):,} characters": len(message) > MOST_CHARACTERS,
        "no checked value": "can't be checked" in message,
    }
    found = [text for text, is_so in faults.items() if is_so]
    return f"the message {', '.join(found)}: {message[:300]}" if found else ""


if __name__ == "__main__":
    command(try_mutation, count=100_000, most_mb=300)
