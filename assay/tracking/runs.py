"""One MLflow run per experiment: found again by its tags, and continued, or succeeded by a new one.

Belongs here: everything that talks to MLflow. Does not belong here: what is told (``content``), when (``resources``).

MLflow's parameters never change and its metrics are only ever added. So a run is continued as long as neither the spec
nor a result that it tells of has changed; else a new one begins, and each names the other in its tags. Nothing is told
twice: a tag per stage says what was told, and all times are those of results.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from assay.experiments.checks import EXP_TESTS
from assay.storage.locks import hold
from assay.tracking.content import Content, StageContent, content_after

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")

ID, STORAGE, TOLD = "assay.experiment_id", "assay.storage", "assay.told."
REPLACES, REPLACED_BY = "assay.replaces", "assay.replaced_by"
ARTIFACTS = "mlflow-artifacts"
"""Folder beside an SQLite file for the files of its runs."""

MOST_AT_ONCE = 100
"""Parameters, tags or metrics in one message; MLflow takes no more of the former two."""
PATIENCE_S = 60.0

MANNERS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""What MLflow is asked for unless the user asks for something else: to call nobody but its server, to give up within
seconds when that does not answer, and to be quiet."""


def track_stage(root: Path, experiment_id: str, stage: str, uri: str, name: str) -> None:
    """Tell MLflow what is known of an experiment now that a stage is done.

    Args:
        root: Storage root.
        experiment_id: The experiment.
        stage: One of ``content.STAGES``.
        uri: Where MLflow's runs are: ``sqlite:///…`` or any other tracking URI.
        name: MLflow experiment in which Assay's experiments are runs.
    """
    with _alone(root, experiment_id):
        MlflowRuns(uri, name).tell(content_after(root, experiment_id, stage))


def track_tests(root: Path, experiment_id: str, stage: str, uri: str, name: str) -> None:
    """Replace what an experiment's run tells of tests after a stage; nothing without a run of the present results."""
    with _alone(root, experiment_id):
        MlflowRuns(uri, name).replace(content_after(root, experiment_id, stage), [EXP_TESTS])


class MlflowRuns:
    """The runs of one MLflow experiment, each of them an experiment of Assay."""

    def __init__(self, uri: str, name: str) -> None:
        for variable, value in MANNERS.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient  # 1.5 s

        artifacts = prepare_database(uri)
        self.client = MlflowClient(tracking_uri=uri)
        known = self.client.get_experiment_by_name(name)
        self.mlflow_experiment = known.experiment_id if known else self.client.create_experiment(name, artifacts)

    def tell(self, content: Content) -> None:
        """Tell what is known of an experiment, in its run."""
        former = self.find(content)
        run = former if former is not None and continues(former, content) else self._begin(content, former)
        self._describe(run, content)
        for stage in content.stages:
            if run.data.tags.get(TOLD + stage.stage) is None:
                self._tell_stage(run, stage, content.folder)
        self.client.set_terminated(run.info.run_id)

    def replace(self, content: Content, files: Sequence[str]) -> None:
        """Replace files in an experiment's run, named relative to the experiment's folder."""
        run = self.find(content)
        if run is not None and continues(run, content):
            self._copy(run, content.folder, [content.folder / name for name in files])

    def find(self, content: Content) -> "Run | None":
        """Return the run of an experiment that no other has replaced; None when there is none, or it was deleted."""
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
        """Tell the parameters and tags that the run lacks."""
        from mlflow.entities import Param, RunTag

        new = [Param(*each) for each in content.parameters.items() if each[0] not in run.data.params]
        changed = [RunTag(*each) for each in content.tags.items() if run.data.tags.get(each[0]) != each[1]]
        for params in in_parts(new):
            self.client.log_batch(run.info.run_id, params=params)
        for tags in in_parts(changed):
            self.client.log_batch(run.info.run_id, tags=tags)

    def _tell_stage(self, run: "Run", stage: StageContent, folder: Path) -> None:
        from mlflow.entities import Metric

        self._copy(run, folder, stage.files)
        metrics = [Metric(point.name, point.value, stage.made_ms, point.step) for point in stage.points]
        for part in in_parts(metrics):
            self.client.log_batch(run.info.run_id, metrics=part)
        self.client.set_tag(run.info.run_id, TOLD + stage.stage, stage.fingerprint)

    def _copy(self, run: "Run", folder: Path, files: Sequence[Path]) -> None:
        for path in files:
            if path.is_file():
                place = path.parent.relative_to(folder).as_posix()
                self.client.log_artifact(run.info.run_id, path, None if place == "." else place)


def continues(run: "Run", content: Content) -> bool:
    """Return whether everything that a run tells is still so."""
    same_spec = run.data.params.items() <= content.parameters.items()
    return same_spec and all(
        run.data.tags.get(TOLD + stage.stage, stage.fingerprint) == stage.fingerprint for stage in content.stages
    )


def prepare_database(uri: str) -> str | None:
    """Make the folder of an SQLite file; return where the files of its runs go, None when MLflow's server knows."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    file = make_url(uri).database or "mlflow.db"
    folder = Path(file.removeprefix("file:")).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / ARTIFACTS).as_uri()


def in_parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the values in as many messages as MLflow needs."""
    for first in range(0, len(values), MOST_AT_ONCE):
        yield values[first : first + MOST_AT_ONCE]


@contextmanager
def _alone(root: Path, experiment_id: str) -> Iterator[None]:
    """Let nobody else tell meanwhile: two at once would make two runs of one experiment, or half a database."""
    with hold(root / "locks", "tracking", "write", f"telling MLflow of {experiment_id}", PATIENCE_S):
        yield
