"""Progress on a terminal: one line per stage, live where the terminal can, plain lines otherwise."""

import sys
import time

import dagster as dg

from assay.progress import Progress
from resources.progress import ProgressReporter

CLEAR_LINE = "\r\x1b[2K"


class TerminalReporter(ProgressReporter):
    """Prints ``stage  seconds  what it made`` when a stage is done, and how far it is while it works."""

    seconds_between_lines: float = 0.2

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return a callback that rewrites the stage's line; silent where output goes to a file."""
        started = time.monotonic()
        last = started
        _started[stage] = started
        live = sys.stdout.isatty()
        if live:
            sys.stdout.write(f"{CLEAR_LINE}{stage:<17} …")
            sys.stdout.flush()

        def report(done: int, total: int, note: str = "") -> None:
            nonlocal last
            now = time.monotonic()
            if live and now - last >= self.seconds_between_lines:
                last = now
                left = (now - started) / max(done, 1) * (total - done)
                tail = f"  {note}" if note else ""
                sys.stdout.write(f"{CLEAR_LINE}{stage:<17} {done}/{total}  {left:.0f} s left{tail}")
                sys.stdout.flush()

        return report

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Print the stage's line for good."""
        seconds = time.monotonic() - _started.pop(stage, time.monotonic())
        prefix = CLEAR_LINE if sys.stdout.isatty() else ""
        sys.stdout.write(f"{prefix}{stage:<17} {seconds:6.1f} s  {outcome}\n")
        sys.stdout.flush()


_started: dict[str, float] = {}
"""When each stage of this process began; a Dagster resource is a frozen config object and can't remember."""
