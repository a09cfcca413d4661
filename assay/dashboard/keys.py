"""Keys of the spec to filter by: those in which the shown experiments differ.

Belongs here: which keys, and between which values there is to choose. Does not belong here: filtering.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from assay.comparison.ranking import differing_keys
from assay.dashboard.experiments import Experiment
from assay.natural import natural_key
from assay.spec.dotted import brief, short_names

FEW = 8
"""Up to so many numbers are chosen one by one, more by a range."""

LACKING = "–"
"""Stands for the value of experiments that don't have a key."""

TAGS = "tags."


@dataclass(frozen=True)
class Choice:
    """What there is to choose of a key.

    Attributes:
        values: All values as text, in a natural order.
        numbers: All values, ascending, where a range is easier to choose than one by one; else empty.
    """

    values: Sequence[str]
    numbers: Sequence[float] = ()


def offered_keys(experiments: Sequence[Experiment], wanted: Collection[str] = ()) -> dict[str, str]:
    """Return the keys in which experiments differ, tags first, with the shortest name that no other shares.

    Args:
        experiments: Some experiments.
        wanted: Keys that are offered in any case if one of the experiments has them.
    """
    tags = [f"{TAGS}{name}" for each in experiments for name in each.tags]
    existing = {key for each in experiments for key in each.keys} if wanted else set()
    further = [key for key in wanted if key in existing]
    return short_names(list(dict.fromkeys([*tags, *_differing(tuple(experiments)), *further])))


@lru_cache(maxsize=8)
def _differing(experiments: tuple[Experiment, ...]) -> tuple[str, ...]:
    """Return the keys in which experiments differ; remembered, as most looks at a page are at the same ones."""
    return tuple(differing_keys([each.keys for each in experiments]))


def key_in_words(key: str) -> str:
    """Return a key with its last part first, as people look for it: ``epochs in trained_model.train_params``."""
    parents, _, last = key.rpartition(".")
    return f"{last} in {parents}" if parents else last


def key_from_words(text: str) -> str:
    """Return the key that ``key_in_words`` wrote."""
    last, _, parents = text.partition(" in ")
    return f"{parents}.{last}" if parents else last


def choice_of(key: str, experiments: Iterable[Experiment]) -> Choice:
    """Return between which values of a key there is to choose."""
    specs = [each.keys for each in experiments]
    found = [spec[key] for spec in specs if key in spec]
    lacking = [LACKING] if len(found) < len(specs) else []
    numbers = sorted({value for value in found if is_number(value)})
    if not all(is_number(value) for value in found):
        return Choice([*sorted({brief(value) for value in found}, key=natural_key), *lacking])
    texts = dict.fromkeys(brief(value) for value in numbers)
    return Choice([*texts, *lacking], numbers if len(numbers) > FEW else ())


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
