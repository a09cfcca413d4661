"""Progress on a terminal: one line per stage, live where the terminal can, plain lines otherwise.

Belongs here: writing the lines. Does not belong here: what a stage does.
"""

import os
import time
from collections.abc import Mapping
from functools import cache
from typing import TextIO

import dagster as dg

from assay.utils.concurrency import NO_VALUES, Progress
from resources.progress import Pause, ProgressReporter

CLEAR_LINE = "\r\x1b[2K"


@cache
def terminal() -> TextIO:
    """Return the process's own standard output; to be called before a run, during which Dagster redirects it."""
    return os.fdopen(os.dup(1), "w")


def write(text: str) -> None:
    """Write to the terminal at once."""
    terminal().write(text)
    terminal().flush()


class TerminalReporter(ProgressReporter):
    """Prints ``stage  seconds  what it made`` when a stage is done, and how far it is while it works."""

    seconds_between_lines: float = 0.2

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return a callback that rewrites the stage's line; silent where output goes to a file."""
        started = _started[stage] = time.monotonic()
        observe, line = self.observer(context, stage), Pause(self.seconds_between_lines)
        live = terminal().isatty()
        if live:
            write(f"{CLEAR_LINE}{stage:<17} …")

        def report(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
            if live and line.is_over():
                left_s = (time.monotonic() - started) / max(done, 1) * (total - done)
                left = "" if "seconds_left" in values else f"{left_s:.0f} s left  "
                write(f"{CLEAR_LINE}{stage:<17} {done}/{total}  {left}{note}")
            observe(values)

        return report

    def wait(self, context: dg.AssetExecutionContext, stage: str, holder: str) -> None:
        """Print it, and store it for the UI."""
        super().wait(context, stage, holder)
        write(f"{_clear()}{stage:<17} waits for the {holder}\n")

    def warn(self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, text: str) -> None:
        """Print it, too."""
        super().warn(context, text)
        if text:
            write(f"warning: {text}\n")

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Print the stage's line for good."""
        seconds = time.monotonic() - _started.pop(stage, time.monotonic())
        write(f"{_clear()}{stage:<17} {seconds:6.1f} s  {outcome}\n")


def _clear() -> str:
    return CLEAR_LINE if terminal().isatty() else ""


_started: dict[str, float] = {}
"""When each stage of this process began; a Dagster resource is a frozen config object and can't remember."""
