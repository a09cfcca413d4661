"""The form of one figure in the tables of results, and when it counts as missed.

Belongs here: figures and targets. Does not belong here: measuring, running, pages.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Direction = Literal["<=", ">="]
Basis = Literal["", "floor", "machine"]


@dataclass(frozen=True)
class Target:
    """What a value must reach.

    Attributes:
        direction: Which way is good.
        limit: The worst value that is good enough, in the row's unit, or in what ``of`` names.
        of: What the limit is a multiple of: nothing, the row's floor, or the machine factor. Seconds on an average
            machine are ``machine``: on one that is half as fast, twice as many are good enough.
    """

    direction: Direction
    limit: float
    of: Basis = ""


def at_most(limit: float, of: Basis = "") -> Target:
    """Return a target for what should be small."""
    return Target("<=", limit, of)


def at_least(limit: float, of: Basis = "") -> Target:
    """Return a target for what should be large."""
    return Target(">=", limit, of)


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        benchmark: What was measured; one name always means the same quantity.
        value: The figure.
        unit: Of value and floor.
        target: What the value must reach; None for what only stands beside other rows.
        floor: The least time, or the highest rate, that the machine allows for the same work, from the same run.
        note: How it was measured.
        measured_on: Where the figure comes from when that is not the run which measured the rows around it.
    """

    benchmark: str
    value: float
    unit: str = "s"
    target: Target | None = None
    floor: float | None = None
    note: str = ""
    measured_on: str = ""

    def __post_init__(self) -> None:
        if self.target is None:
            return
        if self.measured_on:
            raise ValueError(f"{self.benchmark}: a figure from another day has no target in this run")
        if self.target.of == "floor" and not self.floor:
            raise ValueError(f"{self.benchmark}: its target is a multiple of the floor, but it has none")
        if self.target.of == "machine" and (self.unit != "s" or self.target.direction != "<="):
            raise ValueError(f"{self.benchmark}: only a longest time in seconds grows with the machine factor")

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Row":
        """Return the row that ``as_dict`` gave."""
        target = content["target"]
        return cls(**{**content, "target": Target(**target) if target else None})

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON keeps it."""
        return asdict(self)

    def limit(self, machine_factor: float = 1.0) -> float | None:
        """Return the worst value that is good enough, in the row's unit; None without a target."""
        if self.target is None:
            return None
        basis = {"": 1.0, "floor": self.floor or 0.0, "machine": machine_factor}[self.target.of]
        return self.target.limit * basis

    def misses(self, machine_factor: float = 1.0) -> bool:
        """Return whether the value does not reach its target; one that is not a number never does."""
        limit = self.limit(machine_factor)
        if self.target is None or limit is None:
            return False
        return not (self.value <= limit if self.target.direction == "<=" else self.value >= limit)

    def target_text(self, machine_factor: float | None = None) -> str:
        """Return the target for readers, as in ``<= 1.2 (1.8 x floor)``; factor None: it was not measured."""
        if self.target is None:
            return ""
        limit, of = self.limit(machine_factor or 1.0), self.target.of
        start = f"{self.target.direction} {number_text(limit)}"
        if of == "floor":
            return f"{start} ({self.target.limit:.3g} x floor)"
        if of == "machine" and machine_factor:
            return f"{start} ({self.target.limit:.3g} x {machine_factor:.2f} for this machine)"
        return start


def number_text(value: float | None) -> str:
    """Return a figure with three digits, large ones as whole numbers; nothing for None."""
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def missed(rows: Iterable[Row], machine_factor: float = 1.0) -> list[Row]:
    """Return the rows that do not reach their targets."""
    return [row for row in rows if row.misses(machine_factor)]
