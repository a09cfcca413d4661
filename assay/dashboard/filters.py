"""Which experiments are shown.

Belongs here: conditions, and whether an experiment meets them. Does not belong here: how a user enters them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from assay.dashboard.experiments import Experiment
from assay.dashboard.keys import LACKING, is_number
from assay.spec.dotted import brief


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
