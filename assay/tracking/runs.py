"""One MLflow run per experiment: found by its tags, and continued or replaced by a new one.

Parameters of an MLflow run never change, and its metrics are only ever added to. A run is therefore continued as long
as neither the spec nor a logged result has changed; otherwise a new run begins, and each names the other in its tags.
Nothing is logged twice: a tag per stage records the logged result, and all timestamps are those of results.

Belongs here: everything that calls MLflow. Does not belong here: what is logged (``content``), when
(``resources/tracking.py``).
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from assay.experiments.checks import EXP_TESTS
from assay.storage.files import write_text
from assay.storage.locks.acquire import hold
from assay.tracking.content import Content, StageContent, content_after

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")

ID, STORAGE, LOGGED = "assay.experiment_id", "assay.storage", "assay.told."
REPLACES, REPLACED_BY = "assay.replaces", "assay.replaced_by"
ARTIFACTS = "mlflow-artifacts"
"""Folder beside an SQLite database for the artifacts of its runs."""

MODEL = "model"
"""Artifact that ``mlflow.pyfunc.load_model`` takes: ``runs:/<run>/model``."""

BATCH_SIZE = 100
"""Number of parameters, tags or metrics in one request; MLflow accepts no more of the first two."""
LOCK_TIMEOUT_S = 60.0

DEFAULT_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Environment variables for MLflow unless the user has set them: no telemetry, an error within seconds when the server
does not answer, and few log messages."""


def track_stage(root: Path, experiment_id: str, stage: str, uri: str, name: str) -> None:
    """Log an experiment to MLflow after one of its stages.

    Args:
        root: Storage root.
        experiment_id: The experiment.
        stage: One of ``content.STAGES``.
        uri: MLflow's tracking URI, such as ``sqlite:///…``.
        name: Name of the MLflow experiment whose runs are Assay's experiments.
    """
    with _tracking_lock(root, experiment_id):
        MlflowRuns(uri, name).log(content_after(root, experiment_id, stage))


def track_tests(root: Path, experiment_id: str, stage: str, uri: str, name: str) -> None:
    """Replace the test results in an experiment's MLflow run; nothing happens without a run of its current results.

    Args:
        root: Storage root.
        experiment_id: The experiment.
        stage: The tested stage, one of ``content.STAGES``.
        uri: MLflow's tracking URI.
        name: Name of the MLflow experiment.
    """
    with _tracking_lock(root, experiment_id):
        MlflowRuns(uri, name).replace(content_after(root, experiment_id, stage), [EXP_TESTS])


class MlflowRuns:
    """The runs of one MLflow experiment; each of them is an experiment of Assay.

    Args:
        uri: MLflow's tracking URI.
        name: Name of the MLflow experiment; it is created if it does not exist.
    """

    def __init__(self, uri: str, name: str) -> None:
        for variable, value in DEFAULT_ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient  # 1.5 s

        artifacts = prepare_database(uri)
        self.client = MlflowClient(tracking_uri=uri)
        known = self.client.get_experiment_by_name(name)
        self.mlflow_experiment = known.experiment_id if known else self.client.create_experiment(name, artifacts)

    def log(self, content: Content) -> None:
        """Log what is new of an experiment to its run, or to a new run that replaces it."""
        former = self.find(content)
        run = former if former is not None and continues(former, content) else self._begin(content, former)
        self._describe(run, content)
        for stage in content.stages:
            if run.data.tags.get(LOGGED + stage.stage) is None:
                self._log_stage(run, stage, content)
        self.client.set_terminated(run.info.run_id)

    def replace(self, content: Content, files: Sequence[str]) -> None:
        """Replace artifacts of an experiment's run; ``files`` are relative to the experiment's folder."""
        run = self.find(content)
        if run is not None and continues(run, content):
            self._copy(run, content.folder, [content.folder / name for name in files])

    def find(self, content: Content) -> "Run | None":
        """Return the run of an experiment that no other run has replaced; None if there is none, or it was deleted."""
        of_experiment = f"tags.`{ID}` = '{content.experiment_id}'"
        found = self.client.search_runs([self.mlflow_experiment], of_experiment, order_by=["start_time DESC"])
        own = (run for run in found if run.data.tags.get(STORAGE) == content.tags[STORAGE])
        return next((run for run in own if REPLACED_BY not in run.data.tags), None)

    def _begin(self, content: Content, former: "Run | None") -> "Run":
        link = {REPLACES: former.info.run_id} if former else {}
        tags = {**content.tags, **link}
        run = self.client.create_run(self.mlflow_experiment, tags=tags, run_name=content.experiment_id)
        if former is not None:
            self.client.set_tag(former.info.run_id, REPLACED_BY, run.info.run_id)
        return run

    def _describe(self, run: "Run", content: Content) -> None:
        """Log the parameters and tags that are missing or have changed."""
        from mlflow.entities import Param, RunTag

        new = [Param(*each) for each in content.parameters.items() if each[0] not in run.data.params]
        changed = [RunTag(*each) for each in content.tags.items() if run.data.tags.get(each[0]) != each[1]]
        for params in batches(new):
            self.client.log_batch(run.info.run_id, params=params)
        for tags in batches(changed):
            self.client.log_batch(run.info.run_id, tags=tags)

    def _log_stage(self, run: "Run", stage: StageContent, content: Content) -> None:
        from mlflow.entities import Metric

        self._copy(run, content.folder, stage.files)
        metrics = [Metric(point.name, point.value, stage.made_ms, point.step) for point in stage.points]
        for batch in batches(metrics):
            self.client.log_batch(run.info.run_id, metrics=batch)
        self._log_model(run, stage, content)
        self.client.set_tag(run.info.run_id, LOGGED + stage.stage, stage.fingerprint)

    def _log_model(self, run: "Run", stage: StageContent, content: Content) -> None:
        """Log the model as MLflow loads it; after the analysis, only what is known by then of how it predicts."""
        from assay.inference.mlflow_flavour import DATA, save_flavour  # torch: only here
        from assay.inference.stored import PORTABLE, find_model, portable_text

        stored = replace(find_model(content.folder), experiment_id=content.experiment_id)
        with TemporaryDirectory() as place:
            if stage.stage == "trained_model":
                save_flavour(stored, Path(place) / MODEL)
                self.client.log_artifacts(run.info.run_id, str(Path(place) / MODEL), MODEL)
            else:
                write_text(Path(place) / PORTABLE, portable_text(stored))
                self.client.log_artifact(run.info.run_id, str(Path(place) / PORTABLE), f"{MODEL}/{DATA}")

    def _copy(self, run: "Run", folder: Path, files: Sequence[Path]) -> None:
        for path in files:
            if path.is_file():
                artifact_folder = path.parent.relative_to(folder).as_posix()
                self.client.log_artifact(run.info.run_id, path, None if artifact_folder == "." else artifact_folder)


def continues(run: "Run", content: Content) -> bool:
    """Return whether a run can be continued: all that it has logged is still true."""
    same_spec = run.data.params.items() <= content.parameters.items()
    return same_spec and all(
        run.data.tags.get(LOGGED + stage.stage, stage.fingerprint) == stage.fingerprint for stage in content.stages
    )


def prepare_database(uri: str) -> str | None:
    """Create the folder of an SQLite database.

    Returns:
        URI of the folder for artifacts; None for a server, which has its own.
    """
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    file = make_url(uri).database or "mlflow.db"
    folder = Path(file.removeprefix("file:")).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / ARTIFACTS).as_uri()


def batches(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in batches of at most ``BATCH_SIZE``."""
    for first in range(0, len(values), BATCH_SIZE):
        yield values[first : first + BATCH_SIZE]


@contextmanager
def _tracking_lock(root: Path, experiment_id: str) -> Iterator[None]:
    """Hold the lock on tracking: two processes at once could make two runs of one experiment, or half a database."""
    with hold(root / "locks", "tracking", "write", f"telling MLflow of {experiment_id}", LOCK_TIMEOUT_S):
        yield
