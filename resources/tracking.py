"""Logs experiments to MLflow while they run, if configured; a run never fails because of it.

Belongs here: when something is logged, and how errors are handled. Does not belong here: what is logged
(``assay.tracking``).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg

from assay.spec.secrets import HIDDEN, hide
from assay.tracking.content import STAGES
from assay.tracking.runs import track_stage, track_tests

TrackFunction = Callable[[Path, str, str, str, str], None]
"""Takes storage root, experiment ID, stage, tracking URI and MLflow experiment."""

MAX_ERROR_LENGTH = 300

_gave_up: set[str] = set()
"""IDs of the runs in which MLflow failed; it is not tried again in them, because each attempt might time out."""


class Tracker(dg.ConfigurableResource[Any]):
    """The MLflow server to which experiments are logged."""

    uri: str = ""
    """MLflow's tracking URI; empty: nothing is tracked."""
    experiment: str = "assay"
    """Name of the MLflow experiment; each experiment of Assay is a run in it."""

    def stage_done(self, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        """Log the published result of a stage.

        Args:
            run_id: ID of the Dagster run.
            root: Storage root.
            experiment_id: ID of the experiment.
            stage: Any stage; some have nothing to log.

        Returns:
            A warning if logging failed, once per run; otherwise an empty text.
        """
        return self._try(track_stage, run_id, root, experiment_id, stage)

    def tests_done(self, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        """Log the outcome of an experiment's tests after a stage; see ``stage_done``."""
        return self._try(track_tests, run_id, root, experiment_id, stage)

    def _try(self, track: TrackFunction, run_id: str, root: Path, experiment_id: str, stage: str) -> str:
        if not self.uri or stage not in STAGES or run_id in _gave_up:
            return ""
        try:
            track(root, experiment_id, stage, self.uri, self.experiment)
        except Exception as error:  # whatever went wrong, the experiment's results are complete
            _gave_up.add(run_id)
            return f"Nothing more of this run is logged to MLflow: {in_one_line(error, self.uri)}"
        return ""


def in_one_line(error: Exception, uri: str) -> str:
    """Return an error of MLflow as one line, without the tracking URI and its password."""
    if isinstance(error, ImportError):
        return f"{error}. Install it: pip install 'assay[mlflow]'"
    line = f"{type(error).__name__}: {error}".splitlines()[0].replace(uri, "$ASSAY_MLFLOW_URI")
    return hide(line.replace(urlsplit(uri).password or uri, HIDDEN))[:MAX_ERROR_LENGTH]
