"""The launcher of the profile ray: each run is a job of a Ray cluster. It belongs to the extra ``scale``.

Belongs here: what Ray is asked, and what its answers mean. Does not belong here: what runs need (``cluster_runs``).
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import dagster as dg
from dagster_ray import RayRunLauncher
from ray.job_submission import JobStatus

from assay.experiments.ray_cluster import job_client
from assay.experiments.workspace import node_environment
from resources.instance.cluster_runs import ClusterRuns, RunNeeds, TryLaunchLaterError, in_short
from resources.instance.run_launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus

_IS_THERE = "already exists"
"""How Ray refuses a job of a name that it has."""

LOG_TAIL = 2000
"""Number of characters at the end of a job's output that are shown with a failed run."""


class RayLauncher(ClusterRuns, RayRunLauncher):
    """Submits runs as jobs of Ray, with the cores, GPUs and memory that their specs ask for."""

    config_tag = "dagster-ray/config"
    gone = re.compile("status code 404: .*does not exist")  # a proxy before a head that is away says 404 as well

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the keys of dagster-ray, and ours."""
        why = "Whether train_params.device: auto asks for a GPU per process; otherwise such runs compute on CPUs."
        return {**super().config_type(), "gpu_for_auto": dg.Field(bool, default_value=False, description=why)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> "RayLauncher":
        """Return the launcher that ``dagster.yaml`` describes."""
        launcher = cls(inst_data=inst_data, **config_value["ray"])
        launcher.gpu_for_auto = config_value["gpu_for_auto"]
        return launcher

    @cached_property
    def client(self) -> Any:
        """The connection to the cluster; made when it is first used."""
        return job_client(self.address, metadata=self.metadata, headers=self.headers, cookies=self.cookies)

    def configured_run(self, run: dg.DagsterRun, needs: RunNeeds, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a run; its process finds the project where this one does."""
        places = [f"{name}={value}" for name, value in node_environment().items()]
        asked = {"num_cpus": needs.cpus, "num_gpus": needs.gpus or None, "memory": needs.memory_bytes}
        variables = [*places, *(self.env_vars or ()), *(own.get("env_vars") or ())]
        return {**asked, **own, "env_vars": variables}

    def launch_run(self, context: LaunchRunContext) -> None:
        """Submit a run; where the cluster does not answer, the run goes back into the queue for a while.

        An answer that was lost left a job, which the next attempt finds: it is the run's, and goes on; failing the run
        would let its retry work beside it. One that ended, because its run was in the queue again, is replaced.

        Raises:
            TryLaunchLaterError: It does not answer, by which the queue knows to try again.
        """
        try:
            try:
                super().launch_run(context)
            except RuntimeError as error:
                if _IS_THERE not in str(error):
                    raise
                if not self._ended(self._job_of(context.dagster_run)):
                    self._instance.report_engine_event("Ray has its job from an earlier attempt.", context.dagster_run)
                    return
                self.client.delete_job(self._job_of(context.dagster_run))
                super().launch_run(context)
        except OSError as error:
            self.__dict__.pop("client", None)
            raise TryLaunchLaterError(f"Ray does not answer at {self.address}: {error}") from error

    def _ended(self, job: str) -> bool:
        """Return whether a job failed or was stopped; one that succeeded has done what its run is for."""
        return self.client.get_job_status(job) in (JobStatus.FAILED, JobStatus.STOPPED)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether Ray is at work on a run; if its job failed, with what Ray says of it."""
        found = super().check_run_worker_health(run)
        if found.status is not WorkerStatus.FAILED:
            return found
        try:
            job = self.client.get_job_info(self._job_of(run))
        except (OSError, RuntimeError):
            return found
        if job.status not in (JobStatus.FAILED, JobStatus.STOPPED):
            return found
        said = f"Its job on Ray ended as {job.status}: {in_short(job.message or 'no reason was given')}"
        return CheckRunHealthResult(WorkerStatus.FAILED, said)

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Return the end of what the job printed, for the message about a failed run."""
        try:
            printed = self.client.get_job_logs(self._job_of(run)).strip()
        except (OSError, RuntimeError):
            return None
        return f"The end of its output on Ray:\n{printed[-LOG_TAIL:]}" if printed else None

    def _job_of(self, run: dg.DagsterRun) -> str:
        return f"dagster-run-{run.run_id}"
