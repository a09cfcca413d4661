"""Filters of experiments: conditions, and the keys of the spec that conditions are offered for.

Does not belong here: the widgets in which a user enters them (``assay.dashboard.views.sidebar``).
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

MAX_CHOICES = 8
"""Number of different numbers up to which they are chosen one by one, not by a range."""

NO_VALUE = "–"
"""Shown as the value of experiments that do not have a key."""

TAGS = "tags."


@dataclass(frozen=True)
class Filter:
    """Conditions that must all hold; an empty condition, or None, always does.

    Attributes:
        words: All of them occur in ID, name, description or tags, in upper or lower case.
        tasks: The task is one of these.
        models: The kind of the model is one of these.
        since: Started on this day or later, UTC.
        until: Started on this day or earlier, UTC.
        epochs: Fewest and most trained epochs.
        values: By key: the value is one of these, as ``Choice`` shows them.
        ranges: By key: the least and the greatest number.
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
        """Return the experiments that meet all conditions, in their order."""
        return [each for each in experiments if self._holds(each)]

    def _holds(self, experiment: Experiment) -> bool:
        return (
            (not self.tasks or experiment.task in self.tasks)
            and (not self.models or experiment.model in self.models)
            and (self.epochs is None or _within(experiment.epochs, self.epochs))
            and self._is_in_dates(experiment)
            and self._has_words(experiment)
            and all(_shown(experiment, key) in values for key, values in self.values.items() if values)
            and all(_within(experiment.keys.get(key), ends) for key, ends in self.ranges.items())
        )

    def _is_in_dates(self, experiment: Experiment) -> bool:
        if self.since is None and self.until is None:
            return True
        day = experiment.started.date() if experiment.started else None
        return day is not None and (self.since or day) <= day <= (self.until or day)

    def _has_words(self, experiment: Experiment) -> bool:
        if not self.words:
            return True
        tags = (f"{name} {value}" for name, value in experiment.tags.items())
        text = " ".join([experiment.experiment_id, experiment.name, experiment.description, *tags]).lower()
        return all(word in text for word in self.words.lower().split())


def _shown(experiment: Experiment, key: str) -> str:
    return brief(experiment.keys[key]) if key in experiment.keys else NO_VALUE


def _within(value: object, ends: tuple[float, float]) -> bool:
    return is_number(value) and ends[0] <= value <= ends[1]


@dataclass(frozen=True)
class Choice:
    """The values of a key to choose from.

    Attributes:
        values: All values as text, in natural order.
        numbers: All values, ascending, where there are so many that a range is chosen; else empty.
    """

    values: Sequence[str]
    numbers: Sequence[float] = ()


def offered_keys(experiments: Sequence[Experiment], chosen: Collection[str] = ()) -> dict[str, str]:
    """Return the keys in which experiments differ, tags first, each with its shortest unique name.

    Args:
        experiments: Some experiments.
        chosen: Keys that are offered in any case if one of the experiments has them.
    """
    tags = [f"{TAGS}{name}" for each in experiments for name in each.tags]
    existing = {key for each in experiments for key in each.keys} if chosen else set()
    further = [key for key in chosen if key in existing]
    return short_names(list(dict.fromkeys([*tags, *_differing(tuple(experiments)), *further])))


@lru_cache(maxsize=8)
def _differing(experiments: tuple[Experiment, ...]) -> tuple[str, ...]:
    """Return the keys in which experiments differ; cached, as pages are often shown for the same ones."""
    return tuple(differing_keys([each.keys for each in experiments]))


def key_to_label(key: str) -> str:
    """Return a key with its last part first, which people look for: ``epochs in trained_model.train_params``."""
    parents, _, last = key.rpartition(".")
    return f"{last} in {parents}" if parents else last


def key_from_label(text: str) -> str:
    """Return the key of a label that ``key_to_label`` made."""
    last, _, parents = text.partition(" in ")
    return f"{parents}.{last}" if parents else last


def choice_of(key: str, experiments: Iterable[Experiment]) -> Choice:
    """Return the values of a key to choose from."""
    specs = [each.keys for each in experiments]
    values = [spec[key] for spec in specs if key in spec]
    no_value = [NO_VALUE] if len(values) < len(specs) else []
    numbers = sorted({value for value in values if is_number(value)})
    if not all(is_number(value) for value in values):
        return Choice([*sorted({brief(value) for value in values}, key=natural_sort_key), *no_value])
    texts = dict.fromkeys(brief(value) for value in numbers)
    return Choice([*texts, *no_value], numbers if len(numbers) > MAX_CHOICES else ())


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
