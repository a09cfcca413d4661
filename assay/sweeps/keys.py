"""Which keys of a spec a sweep can vary, and the full name of a shortened one.

Belongs here: names. Does not belong here: values.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from assay.errors import MAX_CHOICES, SpecError, nearest
from assay.spec.annotations import models_in
from assay.spec.experiment import ExperimentSpec


def sweepable_keys(values: Mapping[str, Any]) -> set[str]:
    """Return every key of every depth: those of all built-in kinds, and those that these values have.

    Args:
        values: A resolved spec; it may use kinds of installed packages.
    """
    return set(_built_in_keys()) | set(_keys_of(values, ""))


@cache
def _built_in_keys() -> frozenset[str]:
    return frozenset(_keys_in(ExperimentSpec, ""))


def _keys_in(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for inner in models_in([field.annotation]):
            yield from _keys_in(inner, f"{prefix}{name}.")


def _keys_of(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _keys_of(value, f"{prefix}{name}.")


def full_key(name: str, keys: Collection[str]) -> str:
    """Return the one key that is ``name``, or ends in it: ``epochs`` is ``trained_model.train_params.epochs``.

    Raises:
        SpecError: No key, or more than one, ends so; names the candidates.
    """
    if name in keys:
        return name
    found = sorted(key for key in keys if key.endswith(f".{name}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise SpecError(f"key {name!r}", [f"could be any of {_listed(found)}. Write more of it."])
    raise SpecError(f"key {name!r}", [f"does not exist. {_resembling(name, keys)}"])


def _resembling(name: str, keys: Collection[str]) -> str:
    """Return the sentence with the keys whose last part is, or resembles, the last part of ``name``."""
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
