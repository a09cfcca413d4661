"""Reports the progress of stages: to Dagster's run log and the asset's page, and in ``assay run`` to the terminal.

Belongs here: when and how progress is shown. Does not belong here: measuring it, which is up to the stages.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TextIO

import dagster as dg

from assay.utils.concurrency import NO_VALUES, Progress
from assay.utils.text import rounded


class Pause:
    """A minimum time between two reports."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.last = time.monotonic()

    def is_over(self) -> bool:
        """Return whether the pause is over; if so, the next one begins."""
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


AnyContext = dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.InitResourceContext


class ProgressReporter(dg.ConfigurableResource[Any]):
    """Writes a line into the run's log every few seconds, so that the UI shows the progress of a stage.

    Numbers, such as the loss of a training, become observations of the asset while it is being materialized, so that
    its page lists and plots them.
    """

    seconds_between_lines: float = 5.0
    """Shortest time between two lines of one stage, in seconds."""

    seconds_between_observations: float = 10.0
    """Shortest time between two observations of one stage, in seconds."""

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return the progress callback for a stage that starts now."""
        line = Pause(self.seconds_between_lines)
        observe = self.observer(context, stage)

        def report(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
            if line.is_over():
                context.log.info(f"{stage}: {done} of {total}" + (f", {note}" if note else ""))
            observe(values)

        return report

    def observer(self, context: dg.AssetExecutionContext, stage: str) -> Callable[[Mapping[str, float]], None]:
        """Return a callback that records numbers as an observation of the asset, visible at once."""
        observation = Pause(self.seconds_between_observations)

        def observe(values: Mapping[str, float]) -> None:
            if values and observation.is_over():
                metadata = {name: dg.MetadataValue.float(rounded(float(value))) for name, value in values.items()}
                context.log_event(dg.AssetObservation(stage, partition=context.partition_key, metadata=metadata))

        return observe

    def wait(self, context: dg.AssetExecutionContext, stage: str, holder: str) -> None:
        """Log who holds the lock that a stage waits for."""
        context.log.info(f"{stage}: waits for the {holder}")

    def warn(self, context: AnyContext, text: str) -> None:
        """Log a problem that does not affect the run; an empty text is not logged."""
        if text and context.log is not None:
            context.log.warning(text)

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Log that a stage is done, and whether its result was built or found."""
        context.log.info(f"{stage}: {outcome}")


CLEAR_LINE = "\r\x1b[2K"


@cache
def terminal() -> TextIO:
    """Return the process's standard output; must be called before a run, during which Dagster redirects it."""
    return os.fdopen(os.dup(1), "w")


def write(text: str) -> None:
    """Write a text to the terminal without buffering."""
    terminal().write(text)
    terminal().flush()


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Keep every Ctrl-C of the block for ``raise_if_interrupted``.

    Dagster forgets one that arrives while it stores an event, so that a run went on although somebody had stopped it.
    """
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    former = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _interrupts.append(reading)
    try:
        yield
    finally:
        _interrupts.remove(reading)
        signal.set_wakeup_fd(former)
        os.close(reading)
        os.close(writing)


def raise_if_interrupted() -> None:
    """Raise what an interruption raises in a run, if one came and the run still goes on; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        return
    for each in _interrupts:
        with suppress(BlockingIOError):
            if signal.SIGINT in os.read(each, 64):
                raise dg.DagsterExecutionInterruptedError


_interrupts: list[int] = []
"""Pipes into which Python writes the number of each signal."""


class TerminalReporter(ProgressReporter):
    """Prints one line per stage: its progress while it works, then its duration in seconds and its outcome."""

    seconds_between_lines: float = 0.2

    def start(self, context: dg.AssetExecutionContext, stage: str) -> Progress:
        """Return a callback that updates the stage's line; prints nothing if the output goes to a file."""
        raise_if_interrupted()
        started = _started[stage] = time.monotonic()
        observe, line = self.observer(context, stage), Pause(self.seconds_between_lines)
        live = terminal().isatty()
        if live:
            write(f"{CLEAR_LINE}{stage:<17} …")

        def report(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
            raise_if_interrupted()
            if live and line.is_over():
                left_s = (time.monotonic() - started) / max(done, 1) * (total - done)
                left = "" if "seconds_left" in values else f"{left_s:.0f} s left  "
                write(f"{CLEAR_LINE}{stage:<17} {done}/{total}  {left}{note}")
            observe(values)

        return report

    def wait(self, context: dg.AssetExecutionContext, stage: str, holder: str) -> None:
        """Log and print who holds the lock that a stage waits for."""
        super().wait(context, stage, holder)
        write(f"{_clear()}{stage:<17} waits for the {holder}\n")

    def warn(self, context: AnyContext, text: str) -> None:
        """Log and print a problem that does not affect the run; an empty text is ignored."""
        super().warn(context, text)
        if text:
            write(f"warning: {text}\n")

    def finish(self, context: dg.AssetExecutionContext, stage: str, outcome: str = "") -> None:
        """Print the final line of a stage."""
        seconds = time.monotonic() - _started.pop(stage, time.monotonic())
        write(f"{_clear()}{stage:<17} {seconds:6.1f} s  {outcome}\n")


def _clear() -> str:
    return CLEAR_LINE if terminal().isatty() else ""


_started: dict[str, float] = {}
"""Start time of each stage in this process; it can't be kept in the resource, which is frozen."""
