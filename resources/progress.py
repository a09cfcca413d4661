"""Who is told how far a stage is: Dagster's run log by default, a terminal in ``assay run``."""

import time
from typing import Any

import dagster as dg

from assay.progress import Progress


class ProgressReporter(dg.ConfigurableResource[Any]):
    """Writes a line into the run's log every few seconds, so that the UI shows that something happens."""

    seconds_between_lines: float = 5.0
    """Shortest time between two lines of one stage, in seconds."""

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return the callback for a stage that starts now."""
        last = time.monotonic()

        def report(done: int, total: int, note: str = "") -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= self.seconds_between_lines:
                last = now
                context.log.info(f"{stage}: {done} of {total}" + (f", {note}" if note else ""))

        return report

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Tell that a stage is done, and whether its result was built or found."""
        context.log.info(f"{stage}: {outcome}")
