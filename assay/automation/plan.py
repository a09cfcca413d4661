"""The words between deciding and doing: what the orchestrator knows, and what it is asked for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from assay.automation.wanted import Versions
from assay.spec.experiment import ExperimentSpec


class Ledger(Protocol):
    """What the orchestrator knows."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return those that have a run queued or running."""

    def active_count(self) -> int:
        """Return how many runs are queued or running."""

    def cancelled(self, experiment_ids: Collection[str]) -> Mapping[str, float]:
        """Return when the latest run was made, in s since the epoch, of each experiment whose latest was cancelled."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        experiment_id: For which experiment.
        spec: What its file says now.
        assets: What is out of date, in the order of the chain.
        reasons: One line per key that changed, or what else is the matter.
        key: Names the request: the same key is never run twice.
    """

    experiment_id: str
    spec: ExperimentSpec
    assets: tuple[str, ...]
    reasons: tuple[str, ...]
    key: str


@dataclass
class Plan:
    """The outcome of one look.

    Attributes:
        requests: The runs to start.
        problems: Why an experiment can't be run, by the name of its file.
        mended: Experiments that had a problem before and have none now.
        notes: Everything else worth a line.
    """

    requests: list[Request] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line for a look that asks for nothing."""
        lines = [*self.problems.values(), *self.notes]
        return lines[0] if lines else "Every experiment is up to date."
