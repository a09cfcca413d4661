"""What a training tells while it runs: loss, measures, speed and the time that is left.

Belongs here: putting numbers into words, and not too often. Does not belong here: where they are shown (``resources``).
"""

import time
from dataclasses import dataclass, field

from assay.learning.plan import Plan
from assay.learning.scores import as_note
from assay.learning.state import State
from assay.progress import Progress

LEAST_S = 1.0
"""Seconds between two reports within an epoch."""


@dataclass
class Live:
    """Tells how a training goes, after each epoch and within long ones.

    Attributes:
        progress: Who listens; called with epochs done, epochs in all, a note, and numbers.
        plan: Of the training.
        state: Read only.
        least_s: Seconds between two reports within an epoch.
    """

    progress: Progress
    plan: Plan
    state: State
    least_s: float = LEAST_S
    _started: float = field(init=False)
    _latest: float = field(init=False)
    _first_step: int = field(init=False)

    def __post_init__(self) -> None:
        self._started = self._latest = time.monotonic()
        self._first_step = self.state.tally.steps

    def after_step(self) -> None:
        """Tell the mean loss of the epoch so far, if nothing has been told for a while."""
        if time.monotonic() - self._latest < self.least_s:
            return
        done = len(self.state.training.history)
        steps = self.state.tally.steps - done * self.plan.steps
        self._tell(
            done, {"epoch": done + 1, "loss": self.state.tally.loss / steps}, f"step {steps} of {self.plan.steps}"
        )

    def after_epoch(self) -> None:
        """Tell what was measured in the newest epoch."""
        newest = self.state.training.history[-1]
        measured = {f"validation_{name}": value for name, value in newest.validation.items()}
        values = {"epoch": newest.epoch, "loss": newest.train["loss"], **measured}
        self._tell(newest.epoch, values, as_note(newest.validation or {"loss": newest.train["loss"]}))

    def _tell(self, done: int, values: dict[str, float], note: str) -> None:
        self._latest = time.monotonic()
        steps, passed_s = self.state.tally.steps - self._first_step, self._latest - self._started
        if steps:
            left = self.plan.epochs * self.plan.steps - self.state.tally.steps
            pace = {"items_per_s": steps * self.plan.batch_size / passed_s, "seconds_left": left * passed_s / steps}
            note = f"{note}, {pace['items_per_s']:,.0f} items/s, {duration(pace['seconds_left'])} left"
            values = {**values, **pace}
        self.progress(done, self.plan.epochs, note, values)


def duration(seconds: float) -> str:
    """Return a duration for people, such as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
