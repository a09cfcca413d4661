"""What Dagster's launchers for clusters lack: resources of a run from its spec, and an end for runs that never start.

Belongs here: what is the same for all clusters. Does not belong here: how one of them is spoken to (``ray_launcher``,
``kubernetes_launcher``), processes of this machine (``run_launcher``).
"""

import json
import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError

from assay.errors import AssayError, printable
from assay.experiments.last_run import PARTITION_TAG
from assay.experiments.workspace import refuse_bucket_on_nodes, spec_files
from assay.spec.ids import is_id
from assay.spec.trained_model import TrainParams
from resources.instance.run_launcher import (
    CheckRunHealthResult,
    LaunchRunContext,
    ProcessRunLauncher,
    RunLauncher,
    WorkerStatus,
)
from resources.instance.run_records import WHOLE_JOBS

_log = logging.getLogger("dagster.assay.cluster")

SUBMITTED_TAG = "assay/submitted"
"""Tag of a run that was given to the cluster; its value is the run's own ID, because a retry copies the tags."""

SECONDS_BETWEEN_LOOKS = 5.0
"""How often runs are looked at that were submitted and have not begun."""

LONGEST_REASON = 2000

TryLaunchLaterError = DagsterUserCodeUnreachableError
"""By this, the queue knows that nothing is wrong with a run, and launches it again later."""

TRAINING_JOBS = frozenset({*WHOLE_JOBS, "job_train", "job_verify"})

TRAINED = dg.AssetKey("trained_model")


@dataclass(frozen=True)
class RunNeeds:
    """What a run asks of the cluster.

    Attributes:
        cpus: Number of CPU cores.
        gpus: Number of GPUs.
        memory_bytes: Main memory; None: nothing is reserved.
    """

    cpus: int = 1
    gpus: int = 0
    memory_bytes: int | None = None


def needs_of(run: dg.DagsterRun, gpu_for_auto: bool = False) -> RunNeeds:
    """Return what a run needs: what its experiment's training asks for, or else one core.

    A spec that can't be read is no reason not to start: the run tells what is wrong with it, as everywhere.

    Args:
        run: The run.
        gpu_for_auto: Whether ``train_params.device: auto`` asks for GPUs.
    """
    experiment_id = run.tags.get(PARTITION_TAG, "")
    if not is_id(experiment_id):
        return RunNeeds()
    try:
        params = spec_files().load(experiment_id).trained_model.train_params
    except (AssayError, OSError):
        return RunNeeds()
    memory_bytes = None if params.memory_gb is None else round(params.memory_gb * 1e9)
    if not _trains(run):
        return RunNeeds(memory_bytes=memory_bytes)
    return RunNeeds(params.threads * params.processes, _gpus(params, gpu_for_auto), memory_bytes)


def _gpus(params: TrainParams, gpu_for_auto: bool) -> int:
    asks = params.device == "cuda" or (params.device == "auto" and gpu_for_auto)
    return params.processes if asks else 0


def _trains(run: dg.DagsterRun) -> bool:
    """Return whether a run may train: by its assets, or by its job where it has all of the job's."""
    return TRAINED in run.asset_selection if run.asset_selection else run.job_name in TRAINING_JOBS


class ClusterRuns(RunLauncher[dg.DagsterInstance]):
    """Put before a launcher of Dagster's integrations, whose configuration of one run is a tag with JSON.

    Runs of this machine, such as those of ``assay run``, are in the same records: these are watched and ended here.
    """

    config_tag: ClassVar[str]
    """Tag by which the launcher is configured for one run."""

    gone: ClassVar[re.Pattern[str]]
    """How the cluster answers that it does not know a job."""

    gpu_for_auto = False

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)  # type: ignore[no-untyped-call]
        self._here = ProcessRunLauncher(preload=[], kill_after_seconds=20, fork=False)
        self._watcher: threading.Thread | None = None
        self._is_over = threading.Event()
        self._launching: set[str] = set()
        self._missed: set[str] = set()

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Belong to an instance, and so does what handles the runs of this machine."""
        super().register_instance(instance)
        self._here.register_instance(instance)

    def configured_run(self, run: dg.DagsterRun, needs: RunNeeds, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a run.

        Args:
            run: The run.
            needs: What it needs.
            own: What its tag says already, which somebody chose and goes first.
        """
        raise NotImplementedError

    def launch_run(self, context: LaunchRunContext) -> None:
        """Submit a run, with what its spec says that it needs.

        Not stored as a tag: Dagster copies the tags of a run to its retry, whose spec may have changed meanwhile.

        Raises:
            StorageError: The storage is in a bucket.
        """
        run, instance = context.dagster_run, self._instance
        refuse_bucket_on_nodes()
        needs = needs_of(run, self.gpu_for_auto)
        config = self.configured_run(run, needs, _own_config(run, self.config_tag))
        self._launching.add(run.run_id)
        try:
            instance.add_run_tags(run.run_id, {SUBMITTED_TAG: run.run_id})
            memory = f", {needs.memory_bytes / 1e9:g} GB of memory" if needs.memory_bytes else ""
            instance.report_engine_event(f"Asks for {needs.cpus} CPU, {needs.gpus} GPU{memory}.", run)
            configured = run.with_tags({**run.tags, self.config_tag: json.dumps(config)})
            super().launch_run(LaunchRunContext(configured, context.workspace))  # type: ignore[safe-super]
        finally:
            self._launching.discard(run.run_id)
            self._watch()  # also where it failed: the cluster may have the job

    def terminate(self, run_id: str) -> bool:
        """Stop a run on the cluster, or a process of this machine; returns whether there was one."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if not is_submitted(run):
            return self._here.terminate(run_id)
        return bool(super().terminate(run_id))  # type: ignore[safe-super]

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the cluster is at work on a run.

        A cluster that does not answer is no reason to fail the run, which may well be at work, and would be started
        a second time; one that answers and does not know it any more, is.
        """
        if not is_submitted(run):
            return self._here.check_run_worker_health(run)
        self._watch()
        try:
            found = super().check_run_worker_health(run)
        except OSError as error:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"The cluster does not answer: {error}")
        if found.status not in (WorkerStatus.UNKNOWN, WorkerStatus.NOT_FOUND):
            return found
        if self.gone.search(found.msg or ""):
            return CheckRunHealthResult(WorkerStatus.FAILED, _GONE)
        return CheckRunHealthResult(WorkerStatus.RUNNING, f"The cluster does not say: {found.msg}")

    def fail_what_never_starts(self) -> list[str]:
        """Fail the submitted runs whose job ended before it could record anything; returns their IDs.

        Dagster looks only after runs that have begun. Without this, a node that is killed while a run's process is
        importing, or one that lacks a package, would let the run wait for ``start_timeout_seconds``.

        One that is being submitted at this moment is not known to the cluster yet, and one whose submission is tried
        again may not be: a run that the cluster does not know is failed at the second look in a row.
        """
        starting = self._instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTING]))
        launching, missed, failed = frozenset(self._launching), self._missed, []
        self._missed = set()
        for run in filter(is_submitted, starting):
            if run.run_id in launching:
                continue
            found = self.check_run_worker_health(run)
            if found.status not in (WorkerStatus.FAILED, WorkerStatus.SUCCESS):
                continue
            if found.msg == _GONE and run.run_id not in missed:
                self._missed.add(run.run_id)
                continue
            now = self._instance.get_run_by_id(run.run_id)  # it may have begun before its job ended
            if now is not None and now.status is dg.DagsterRunStatus.STARTING:
                self._instance.report_run_failed(now, f"It never began: {in_short(found.msg or 'its job ended')}")
                failed.append(run.run_id)
        return failed

    def _watch(self) -> None:
        """Look after starting runs from now on, in a thread of this process."""
        if self._watcher is None or not self._watcher.is_alive():
            self._watcher = threading.Thread(target=self._look_again, name="cluster runs", daemon=True)
            self._watcher.start()

    def _look_again(self) -> None:
        while not self._is_over.wait(SECONDS_BETWEEN_LOOKS) and self.has_instance:
            try:
                self.fail_what_never_starts()
            except Exception:  # the database or the cluster may be away for a while
                _log.exception("The runs that are being started could not be looked at.")

    def dispose(self) -> None:
        """End the looks; runs continue."""
        self._is_over.set()


_GONE = "The cluster does not know the run any more."


def in_short(text: str) -> str:
    """Return what a cluster says as one line, such as ends a job's output."""
    line = " ".join(printable(text).split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def is_submitted(run: dg.DagsterRun) -> bool:
    """Return whether a run was given to the cluster, and is not at work on this machine."""
    return run.tags.get(SUBMITTED_TAG) == run.run_id


def _own_config(run: dg.DagsterRun, tag: str) -> dict[str, Any]:
    """Return what the tag of a run says.

    Raises:
        dagster.DagsterInvariantViolationError: It is no JSON object.
    """
    text = run.tags.get(tag, "{}")
    try:
        own = json.loads(text)
    except ValueError:
        own = None
    if not isinstance(own, dict):
        raise dg.DagsterInvariantViolationError(f"Tag {tag!r} of run {run.run_id} is {text!r}; expected a JSON object.")
    return own
