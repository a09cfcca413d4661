"""Sweeps: one experiment per combination of values, tagged with the name of the sweep.

Belongs here: parsing ``KEY=VALUE,VALUE``, expanding shortened keys, combinations; planning the experiments of a sweep,
writing all of them or none, finding them by their tag.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from assay.errors import MAX_CHOICES, FileError, SpecError, nearest, shorten
from assay.experiments.specs import SpecFiles
from assay.spec.defaults import with_defaults
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.loading import MOST_BYTES, merged, spec_from, spec_keys
from assay.spec.models import AutoModel
from assay.spec.trained_model import TrainedModelSection
from assay.spec.validation import means_network
from assay.spec.yaml_text import flatten, nest, read_mapping, read_value, shown
from assay.utils.reading import read_text
from assay.utils.text import canonical_json

MOST_COMBINATIONS = 10_000

_MODEL_SECTION = "trained_model."


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
    require_apart([axis.key for axis in axes], "--grid")
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_COMBINATIONS:
        raise SpecError("--grid", [f"makes {count:,} combinations; expected at most {MOST_COMBINATIONS:,}"])
    keys = [axis.key for axis in axes]
    return [dict(zip(keys, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def require_apart(keys: Sequence[str], option: str) -> None:
    """Refuse keys that are given twice, or of which one contains another.

    Raises:
        SpecError: Names both keys, and the option by which they were given.
    """
    for inner, outer in itertools.combinations(sorted(keys, key=len, reverse=True), 2):
        if inner == outer:
            raise SpecError(option, [f"{inner} is given twice; put all its values into one {option}"])
        if inner.startswith(f"{outer}."):
            raise SpecError(option, [f"{inner} lies inside of {outer}; vary one of them"])


HEAD = "trained_model.model.head."


def sweepable_keys(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys at every depth: those of all built-in kinds, and those in ``values``.

    The head of a pretrained network has keys of other models, whose short names stay theirs where there is no head.

    Args:
        values: A resolved spec, which may use kinds of installed packages.
    """
    return {key for key in spec_keys() if not key.startswith(HEAD)} | set(_keys_of(values, ""))


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


@dataclass(frozen=True)
class Member:
    """One experiment of a sweep.

    Attributes:
        experiment_id: Its ID.
        changes: Value of each swept key.
        content: The keys of its spec file.
        exists: Whether its spec file exists already.
    """

    experiment_id: str
    changes: Mapping[str, Any]
    content: Mapping[str, Any]
    exists: bool


@dataclass(frozen=True)
class Sweep:
    """All experiments of a sweep, in the order of its grid."""

    name: str
    members: tuple[Member, ...]

    @property
    def new(self) -> list[Member]:
        """The experiments that have no file yet."""
        return [member for member in self.members if not member.exists]


def plan_sweep(store: SpecFiles, base: Mapping[str, Any], axes: Sequence[Axis], name: str) -> Sweep:
    """Return the experiments of a sweep; existing ones with the same resolved spec keep their IDs.

    Args:
        store: The spec files.
        base: The keys that all experiments share.
        axes: The keys that vary, with their values.
        name: Value of the sweep tag, and prefix of the new IDs.

    Raises:
        IdError: The name is not a valid prefix of an ID.
        SpecError: A combination is not valid, or two are the same experiment; lists every problem.
    """
    tagged = tagged_base(base, [axis.key for axis in axes], name)
    grid = combinations(axes)
    contents = [merged(tagged, nest(changes)) for changes in grid]
    resolved = _resolve(contents, grid, name)
    existing = _resolved_members(store, name)
    free = free_ids(name, len(grid), store.used_ids())
    members = [
        Member(existing.get(spec) or next(free), changes, content, spec in existing)
        for changes, content, spec in zip(grid, contents, resolved, strict=True)
    ]
    return Sweep(name, tuple(members))


def tagged_base(base: Mapping[str, Any], keys: Sequence[str], name: str) -> dict[str, Any]:
    """Return what the experiments of a sweep share: the base, with its tag and the kinds of sections with varied keys.

    Raises:
        IdError: The name is not a valid prefix of an ID.
    """
    return merged(_with_kinds(base, keys), {"tags": {TAG: validate_id(name)}})


def _with_kinds(base: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return ``base`` with the default kinds of all sections with swept keys, as ``width`` needs ``kind: cnn``."""
    spec = spec_from(base, "the base of the sweep")
    resolved = flatten(spec.as_dict())
    parts = [key.split(".") for key in keys]
    kinds = {".".join([*part[:depth], "kind"]) for part in parts for depth in range(1, len(part))}
    with_kinds = merged(nest({kind: resolved[kind] for kind in kinds if kind in resolved}), base)
    return merged(with_kinds, _network(spec, base, keys))


def _network(spec: ExperimentSpec, base: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the network that is meant where the data would choose a model, but a key varies that only networks read.

    Or of ``learning_rate=0.004,0.01``, of which the first is the default, one would be the learning rate of a network,
    and the other that of no model: another kind than the one that is compared.
    """
    is_chosen = isinstance(spec.trained_model.model, AutoModel) and not (base.get("trained_model") or {}).get("model")
    varied = [key.removeprefix(_MODEL_SECTION) for key in keys if key.startswith(_MODEL_SECTION)]
    if not is_chosen or {"model", "model.kind"} & set(varied):
        return {}
    if not any(means_network(key, spec.learning) for key in varied):
        return {}
    network = with_defaults(TrainedModelSection(), spec.learning, "columns").model
    return {"trained_model": {"model": network.model_dump(mode="json") if network else None}}


def _resolve(contents: Sequence[Mapping[str, Any]], grid: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the resolved spec of each combination as canonical JSON; raises with the problems of all combinations."""
    problems: dict[str, str] = {}
    specs: dict[str, str] = {}
    for content, changes in zip(contents, grid, strict=True):
        where = ", ".join(f"{key}={shown(value)}" for key, value in changes.items())
        try:
            spec = canonical_json(spec_from(content, where).as_dict())
        except SpecError as error:
            for problem in error.problems:
                problems.setdefault(problem, where)
            continue
        if spec in specs:
            problems.setdefault(f"is the same experiment as {specs[spec]}", where)
        specs.setdefault(spec, where)
    if problems:
        raise SpecError(f"sweep {name}", [f"{problem} (with {where})" for problem, where in problems.items()])
    return list(specs)


def _resolved_members(store: SpecFiles, name: str) -> dict[str, str]:
    """Return the IDs of the sweep's existing experiments by resolved spec, without invalid ones."""
    found: dict[str, str] = {}
    for experiment_id, values in sweep_members(store, name).items():
        with suppress(SpecError):
            found[canonical_json(spec_from(values, experiment_id).as_dict())] = experiment_id
    return found


def free_ids(name: str, count: int, used: Collection[str]) -> Iterator[str]:
    """Yield unused IDs ``name-01``, ``name-02`` and so on, with enough digits to sort by name.

    After ``name-40`` of 40 comes ``name-041`` of 100, not ``name-001`` beside ``name-01``.
    """
    width = max(2, len(str(count)))
    endings = [each.removeprefix(f"{name}-") for each in used if each.startswith(f"{name}-")]
    taken = {int(ending) for ending in endings if ending.isascii() and ending.isdecimal()}
    number = 0
    while True:
        number += 1
        candidate = f"{name}-{number:0{width}}"
        if number not in taken:
            yield validate_id(candidate)


TAG = "sweep"
"""Name of the tag that every experiment of a sweep carries."""


def sweep_members(store: SpecFiles, name: str) -> dict[str, Mapping[str, Any]]:
    """Return the keys of every experiment of a sweep, by ID; they are not validated."""
    return {member: values for member, values in _tagged(store) if values["tags"][TAG] == name}


def sweep_names(store: SpecFiles) -> list[str]:
    """Return the names of all sweeps."""
    return sorted({str(values["tags"][TAG]) for _, values in _tagged(store)})


def _tagged(store: SpecFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield ID and keys of the experiments with a sweep tag; files without the word are not parsed, to save time."""
    for experiment_id in store.ids():
        path = store.path(experiment_id)
        try:
            text = read_text(path, MOST_BYTES)
            values = read_mapping(text, str(path)) if TAG in text else {}
        except (FileNotFoundError, FileError, SpecError):
            continue  # removed meanwhile, or half-saved: `assay validate` reports it
        if isinstance(values.get("tags"), Mapping) and TAG in values["tags"]:
            yield experiment_id, values


def write_sweep(store: SpecFiles, sweep: Sweep) -> list[str]:
    """Create the spec files of the new experiments; if one can't be written, the others are removed again.

    Returns:
        The IDs of the new experiments.

    Raises:
        IdError: One of the IDs was taken meanwhile; then nothing is written.
    """
    written: list[str] = []
    with ExitStack() as undo:
        for member in sweep.new:
            written.append(store.create(member.content, member.experiment_id))
            undo.callback(store.path(member.experiment_id).unlink, missing_ok=True)
        undo.pop_all()
    return written
