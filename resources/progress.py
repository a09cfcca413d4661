"""Who is told how far a stage is: Dagster's run log and the asset's page by default, a terminal in ``assay run``."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from assay.utils.concurrency import NO_VALUES, Progress


class Pause:
    """A time during which nothing is told, again and again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the pause is over; if so, the next begins."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


class ProgressReporter(dg.ConfigurableResource[Any]):
    """Writes a line into the run's log every few seconds, so that the UI shows that something happens.

    Numbers, such as the loss of a training, become observations of the asset while it is being made: its page lists and
    plots them.
    """

    seconds_between_lines: float = 5.0
    """Shortest time between two lines of one stage, in seconds."""

    seconds_between_observations: float = 10.0
    """Shortest time between two observations of one stage, in seconds."""

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return the callback for a stage that starts now."""
        line = Pause(self.seconds_between_lines)
        observe = self.observer(context, stage)

        def report(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
            if line.is_over():
                context.log.info(f"{stage}: {done} of {total}" + (f", {note}" if note else ""))
            observe(values)

        return report

    def observer(self, context: dg.AssetExecutionContext, stage: str) -> Callable[[Mapping[str, float]], None]:
        """Return what records numbers as an observation of the asset, seen at once and not at the run's end."""
        observation = Pause(self.seconds_between_observations)

        def observe(values: Mapping[str, float]) -> None:
            if values and observation.is_over():
                metadata = {name: dg.MetadataValue.float(float(value)) for name, value in values.items()}
                context.log_event(dg.AssetObservation(stage, partition=context.partition_key, metadata=metadata))

        return observe

    def wait(self, context: dg.AssetExecutionContext, stage: str, holder: str) -> None:
        """Tell who holds a lock that a stage waits for."""
        context.log.info(f"{stage}: waits for the {holder}")

    def warn(self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, text: str) -> None:
        """Tell what went wrong without harm to the run; an empty text is nothing."""
        if text:
            context.log.warning(text)

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Tell that a stage is done, and whether its result was built or found."""
        context.log.info(f"{stage}: {outcome}")
