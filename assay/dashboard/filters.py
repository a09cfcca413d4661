"""Which experiments are shown.

Belongs here: conditions, and whether an experiment meets them. Does not belong here: how a user enters them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import TypeGuard

from assay.comparison.ranking import differing_keys
from assay.dashboard.data import Experiment
from assay.spec.yaml_text import brief, short_names
from assay.utils.text import natural_sort_key


@dataclass(frozen=True)
class Filter:
    """Conditions of which all must hold; one that is empty or None always does.

    Attributes:
        words: All of them occur in ID, name, description or tags, in whatever case.
        tasks: One of these.
        models: One of these kinds.
        since: Started on this day or later, UTC.
        until: Started on this day or earlier, UTC.
        epochs: Fewest and most trained epochs.
        values: By key, one of these values, as ``keys.Choice`` shows them.
        ranges: By key, the least and the greatest number.
    """

    words: str = ""
    tasks: Collection[str] = ()
    models: Collection[str] = ()
    since: date | None = None
    until: date | None = None
    epochs: tuple[int, int] | None = None
    values: Mapping[str, Collection[str]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def choose(self, experiments: Iterable[Experiment]) -> list[Experiment]:
        """Return those that meet all conditions, in their order."""
        return [each for each in experiments if self._holds(each)]

    def _holds(self, each: Experiment) -> bool:
        return (
            (not self.tasks or each.task in self.tasks)
            and (not self.models or each.model in self.models)
            and (self.epochs is None or _within(each.epochs, self.epochs))
            and self._began_then(each)
            and self._has_words(each)
            and all(_shown(each, key) in values for key, values in self.values.items() if values)
            and all(_within(each.keys.get(key), ends) for key, ends in self.ranges.items())
        )

    def _began_then(self, each: Experiment) -> bool:
        if self.since is None and self.until is None:
            return True
        day = each.started.date() if each.started else None
        return day is not None and (self.since or day) <= day <= (self.until or day)

    def _has_words(self, each: Experiment) -> bool:
        if not self.words:
            return True
        tags = (f"{name} {value}" for name, value in each.tags.items())
        text = " ".join([each.experiment_id, each.name, each.description, *tags]).lower()
        return all(word in text for word in self.words.lower().split())


def _shown(each: Experiment, key: str) -> str:
    return brief(each.keys[key]) if key in each.keys else LACKING


def _within(value: object, ends: tuple[float, float]) -> bool:
    return is_number(value) and ends[0] <= value <= ends[1]


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
        return Choice([*sorted({brief(value) for value in found}, key=natural_sort_key), *lacking])
    texts = dict.fromkeys(brief(value) for value in numbers)
    return Choice([*texts, *lacking], numbers if len(numbers) > FEW else ())


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, which true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
