"""Dagster's files of what steps print, whose helper processes hear no Ctrl-C.

Dagster starts two processes per stream that copy what is printed to the terminal. A Ctrl-C reaches every process of the
terminal, and each of them would print a traceback beside the sentence that ``assay run`` ends with. They end with the
run anyway.

Belongs here: how these processes are started. Does not belong here: what is kept and where, which is Dagster's.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from assay.experiments.workspace import dagster_home


class QuietComputeLogManager(LocalComputeLogManager):
    """Dagster's own manager, in its usual place: the folder ``storage`` of the Dagster home."""

    @classmethod
    def config_type(cls) -> Any:
        """Return no keys: the place is Dagster's usual one."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "QuietComputeLogManager":
        """Return the manager of this Dagster home."""
        return cls(base_dir=str(dagster_home() / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[Any]:
        """Capture what is printed; a signal mask is inherited by what is started, also across ``exec``."""
        captured = super().capture_logs(log_key)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            context = captured.__enter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            yield context
        except BaseException as error:
            if not captured.__exit__(type(error), error, error.__traceback__):
                raise
        else:
            captured.__exit__(None, None, None)
