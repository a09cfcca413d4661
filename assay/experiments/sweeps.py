"""Sweeps: one experiment per combination of values, tagged with the name of the sweep.

Belongs here: planning the experiments of a sweep, writing all of them or none, finding them by their tag. Does not
belong here: parsing the grid (``sweep_grid``).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from assay.errors import FileError, SpecError
from assay.experiments.specs import SpecFiles
from assay.experiments.sweep_grid import Axis, combinations
from assay.spec.ids import validate_id
from assay.spec.loading import MOST_BYTES, merged, spec_from
from assay.spec.yaml_text import flatten, nest, read_mapping, shown
from assay.utils.reading import read_text
from assay.utils.text import canonical_json


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
    validate_id(name)
    tagged = merged(_with_kinds(base, [axis.key for axis in axes]), {"tags": {TAG: name}})
    grid = combinations(axes)
    contents = [merged(tagged, nest(changes)) for changes in grid]
    resolved = _resolve(contents, grid, name)
    existing = _resolved_members(store, name)
    free = _free_ids(name, len(grid), store.used_ids())
    members = [
        Member(existing.get(spec) or next(free), changes, content, spec in existing)
        for changes, content, spec in zip(grid, contents, resolved, strict=True)
    ]
    return Sweep(name, tuple(members))


def _with_kinds(base: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return ``base`` with the default kinds of all sections with swept keys, as ``width`` needs ``kind: cnn``."""
    resolved = flatten(spec_from(base, "the base of the sweep").as_dict())
    parts = [key.split(".") for key in keys]
    kinds = {".".join([*part[:depth], "kind"]) for part in parts for depth in range(1, len(part))}
    return merged(nest({kind: resolved[kind] for kind in kinds if kind in resolved}), base)


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


def _free_ids(name: str, count: int, used: Collection[str]) -> Iterator[str]:
    """Yield unused IDs ``name-01``, ``name-02`` and so on, with enough digits to sort by name."""
    width = max(2, len(str(count)))
    number = 0
    while True:
        number += 1
        candidate = f"{name}-{number:0{width}}"
        if candidate not in used:
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
