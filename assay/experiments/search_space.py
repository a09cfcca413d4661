"""The space of a search: which keys of the spec vary, and between which ends or among which choices.

Belongs here: parsing ``KEY=FROM..TO``, refusing what no experiment could have before anything is trained, from numbers
of a search to values of a spec. Does not belong here: who proposes the numbers (``studies``).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assay.errors import SpecError, shorten
from assay.experiments.sweeps import full_key, require_apart, sweepable_keys, tagged_base
from assay.spec.experiment import SECTION_NAMES
from assay.spec.loading import merged, spec_from
from assay.spec.yaml_text import nest, read_value, shown

OPTION = "--space"

EXPECTED = "expected KEY=FROM..TO, KEY=log:FROM..TO or KEY=A|B|C, such as learning_rate=log:1e-4..1e-2"

DIGITS = 4
"""Significant digits of a proposed number, more where the ends share their first ones: others make no difference, and
a spec with them is hard to read."""

BETWEEN = 0.381966
"""Place of a value between the ends that is tried, too: no end shows that a key takes whole numbers only."""

MOST_CORNERS = 256
"""Combinations of ends and choices that are tried before a search; of larger spaces, each key alone."""

SEARCHED = ("seed", *SECTION_NAMES[: SECTION_NAMES.index("analysis")])
"""Keys and sections on which it depends what a trial predicts; the others say how it is measured, named or kept."""

MEASURED_BY = ("trained_model.data_validation", "trained_model.data_validation.subset", "predictions.datasets")
"""Keys within these sections that say on which data a trial is measured."""

Number = int | float


@dataclass(frozen=True)
class Dimension:
    """One key that varies: a range of numbers, or choices.

    Attributes:
        key: The full key.
        choices: The values to choose from; empty for a range.
        low: First end of a range.
        high: Last end of a range, which belongs to it.
        log: Whether numbers are drawn by their logarithm.
        whole: Whether only whole numbers are drawn.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: Number = 0
    high: Number = 0
    log: bool = False
    whole: bool = False

    @property
    def text(self) -> str:
        """The dimension as a user may write it."""
        if self.choices:
            return f"{self.key}={'|'.join(shown(value) for value in self.choices)}"
        return f"{self.key}={'log:' if self.log else ''}{self.low!r}..{self.high!r}"

    @property
    def probes(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice; or both ends of a range and a number between them."""
        if self.choices:
            return self.choices
        between = self.low + (self.high - self.low) * BETWEEN
        if self.log:
            between = math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * BETWEEN)
        return tuple(dict.fromkeys((self.low, self.high, self.value_of(between))))

    def value_of(self, proposed: Any) -> Any:
        """Return the value of the key for what a search proposes: a number, or the text of a choice."""
        if self.choices:
            return {shown(value): value for value in self.choices}[proposed]
        if self.whole:
            return round(proposed)
        return min(max(float(f"{proposed:.{self._digits}g}"), float(self.low)), float(self.high))

    @property
    def _digits(self) -> int:
        """Significant digits of a number: 0.999 to 0.9999 would be ten values with as many as 0 to 1 has."""
        ratio = max(abs(self.low), abs(self.high)) / (self.high - self.low)
        return DIGITS + math.floor(math.log10(max(1.0, ratio)))


@dataclass(frozen=True)
class Space:
    """The keys that vary, and what all experiments of the search share.

    Attributes:
        dimensions: In the order in which they were given.
        base: Keys of every experiment's file.
    """

    dimensions: tuple[Dimension, ...]
    base: Mapping[str, Any]

    def changes(self, proposed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the value of each key for what a search proposes by key."""
        return {each.key: each.value_of(proposed[each.key]) for each in self.dimensions}

    def content(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of an experiment's file."""
        return merged(self.base, nest(changes))

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """The base with all defaults."""
        return spec_from(self.base, "the base of the search").as_dict()


def read_space(texts: Sequence[str], base: Mapping[str, Any], source: str, name: str) -> Space:
    """Parse the space of a search, and refuse it if any of its experiments could not be.

    Args:
        texts: One ``KEY=…`` per key that varies.
        base: Keys of the base's file.
        source: Name of that file.
        name: Name of the search.

    Raises:
        IdError: The name is not a valid prefix of an ID.
        SpecError: The base is not valid, a text can't be read, no key or more than one ends so, or the spec refuses an
            end or a choice.
    """
    if not texts:
        raise SpecError(OPTION, [f"is missing; {EXPECTED}"])
    keys = sweepable_keys(spec_from(base, source).as_dict())
    dimensions = [read_dimension(text, keys) for text in texts]
    require_apart([each.key for each in dimensions], OPTION)
    space = Space(tuple(dimensions), tagged_base(base, [each.key for each in dimensions], name))
    space = replace(space, dimensions=tuple(_of_its_numbers(space, each) for each in dimensions))
    _require_valid(space)
    return space


def read_dimension(text: str, keys: Collection[str]) -> Dimension:
    """Parse ``learning_rate=log:1e-4..1e-2``, ``epochs=5..40`` or ``model.width=16|32|64``.

    Args:
        text: Key, possibly shortened, and a range or choices, which are YAML values.
        keys: All existing keys.

    Raises:
        SpecError: It can't be read, leaves nothing to search, or no prediction depends on the key.
    """
    name, equals, domain = (part.strip() for part in text.partition("="))
    if not equals or not name:
        raise SpecError(OPTION, [f"got {shorten(text)}; {EXPECTED}"])
    key = full_key(name, keys)
    if key.partition(".")[0] not in SEARCHED or key in MEASURED_BY:
        _refuse(name, domain, f"varies {key}, by which a trial is measured, named or kept; set it in the base instead")
    if ".." in domain and "|" not in domain:
        return _read_range(key, name, domain)
    return _read_choices(key, name, domain)


def _read_range(key: str, name: str, domain: str) -> Dimension:
    log = domain.startswith("log:")
    first, _, last = domain.removeprefix("log:").partition("..")
    low, high = _number(name, first), _number(name, last)
    way = "log:" if log else ""
    if low == high:
        _refuse(name, domain, f"has one value; expected two ends, or {name}: {shown(low)} in the base instead")
    if low > high:
        _refuse(name, domain, f"ends before it begins; expected {name}={way}{last}..{first}")
    if log and low <= 0:
        _refuse(name, domain, f"has no logarithm at {shown(low)}; expected ends above 0, or {name}={first}..{last}")
    return Dimension(key, low=low, high=high, log=log, whole=isinstance(low, int) and isinstance(high, int))


def _number(name: str, text: str) -> Number:
    value = None
    with suppress(SpecError):
        value = read_value(text)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(OPTION, [f"an end of {name} is {shorten(text.strip())}; expected a number, as in {name}=1..8"])
    return value


def _read_choices(key: str, name: str, domain: str) -> Dimension:
    try:
        values = [read_value(part) for part in domain.split("|")]
    except SpecError as error:
        raise SpecError(OPTION, [f"the choices of {name} are not YAML: {shorten(domain)}; {EXPECTED}"]) from error
    texts = [shown(value) for value in values]
    if len(values) < 2:
        hint = f"; a list is written {'|'.join(part.strip() for part in domain.split(','))}" if "," in domain else ""
        _refuse(name, domain, f"leaves nothing to search; expected {name}=FROM..TO or {name}=A|B{hint}")
    if twice := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
        _refuse(name, domain, f"has {', '.join(twice)} twice; expected each choice once")
    return Dimension(key, tuple(values))


def _refuse(name: str, domain: str, problem: str) -> None:
    raise SpecError(OPTION, [f"{name}={shorten(domain)[1:-1]} {problem}"])


def _of_its_numbers(space: Space, each: Dimension) -> Dimension:
    """Return a range between whole numbers as one of all numbers if the key takes fractions: 0..1 is not 0 or 1."""
    if not each.whole:
        return each
    with suppress(SpecError):
        spec_from(space.content({each.key: each.low + 0.5}), "a fraction")
        return replace(each, whole=False)
    return each


def _require_valid(space: Space) -> None:
    """Refuse a space of which the spec refuses an end, a choice or a combination of them."""
    problems: dict[str, str] = {}  # the first one of each key
    for changes in _corners(space):
        where = ", ".join(f"{key}={shown(value)}" for key, value in changes.items())
        try:
            spec_from(space.content(changes), where)
        except SpecError as error:
            for problem in error.problems:
                problems.setdefault(problem.partition(":")[0], f"{problem} (with {where})")
    if problems:
        raise SpecError(OPTION, list(problems.values()))


def _corners(space: Space) -> list[dict[str, Any]]:
    combined: list[dict[str, Any]] = [{}]
    for each in space.dimensions:
        combined = [{**corner, each.key: value} for corner in combined for value in each.probes]
        if len(combined) > MOST_CORNERS:
            first = {other.key: other.probes[0] for other in space.dimensions}
            return [{**first, other.key: value} for other in space.dimensions for value in other.probes]
    return combined
