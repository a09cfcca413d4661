"""Tells MLflow of experiments while they run, where that is wanted; a run never fails because of it.

Belongs here: when it is told, and what becomes of errors. Does not belong here: what is told (``assay.tracking``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from assay.spec.secrets import HIDDEN, hide
from assay.tracking import STAGES, track_stage, track_tests

Tell = Callable[[Path, str, str, str, str], None]
LONGEST = 300

_gave_up: set[str] = set()
"""Runs in which MLflow failed: it is not asked again in them, because it might let them wait each time."""


class Tracker(dg.ConfigurableResource[Any]):
    """Where experiments are tracked."""

    uri: str = ""
    """MLflow's tracking URI; empty: nothing is tracked."""
    experiment: str = "assay"
    """MLflow experiment in which Assay's experiments are runs."""

    def stage_done(self, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        """Tell of an experiment whose result of a stage was published.

        Args:
            run_id: Dagster's.
            root: Storage root.
            experiment_id: The experiment.
            stage: Any; only after some there is something to tell.

        Returns:
            What went wrong, once per run; else an empty text.
        """
        return self._try(track_stage, run_id, root, experiment_id, stage)

    def tests_done(self, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        """Tell what an experiment's tests say after a stage; see ``stage_done``."""
        return self._try(track_tests, run_id, root, experiment_id, stage)

    def _try(self, tell: Tell, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        if not self.uri or stage not in STAGES or run_id in _gave_up:
            return ""
        try:
            tell(root, experiment_id, stage, self.uri, self.experiment)
        except Exception as error:  # whatever it is, the experiment's results are complete
            _gave_up.add(run_id)
            return f"MLflow is told no more of this run: {in_one_line(error, self.uri)}"
        return ""


def in_one_line(error: Exception, uri: str) -> str:
    """Return what went wrong with MLflow, without its URI and the password in that."""
    if isinstance(error, ImportError):
        return f"{error}. Install it: pip install 'assay[mlflow]'"
    line = f"{type(error).__name__}: {error}".splitlines()[0].replace(uri, "$ASSAY_MLFLOW_URI")
    return hide(line.replace(urlsplit(uri).password or uri, HIDDEN))[:LONGEST]
