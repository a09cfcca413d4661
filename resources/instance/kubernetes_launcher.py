"""The launcher of the profile kubernetes: each run is a Kubernetes job. It belongs to the extra ``scale``.

Belongs here: what Kubernetes is asked. Does not belong here: what runs need (``cluster_runs``).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import dagster as dg
from dagster_k8s import K8sRunLauncher
from dagster_k8s.client import DagsterK8sAPIRetryLimitExceeded, DagsterK8sUnrecoverableAPIError

from resources.instance.cluster_runs import ClusterRuns, RunNeeds, TryLaunchLaterError
from resources.instance.run_launcher import LaunchRunContext


class KubernetesLauncher(ClusterRuns, K8sRunLauncher):
    """Starts runs as Kubernetes jobs, with the cores, GPUs and memory that their specs ask for."""

    config_tag = "dagster-k8s/config"
    gone = re.compile(r"could not be found|\(404\)")

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the keys of dagster-k8s, and ours."""
        why = "Whether train_params.device: auto asks for a GPU per process; otherwise such runs compute on CPUs."
        return {**super().config_type(), "gpu_for_auto": dg.Field(bool, default_value=False, description=why)}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Mapping[str, Any]) -> "KubernetesLauncher":
        """Return the launcher that ``dagster.yaml`` describes."""
        config = dict(config_value)
        gpu_for_auto = config.pop("gpu_for_auto")
        launcher = cls(inst_data=inst_data, **config)
        launcher.gpu_for_auto = gpu_for_auto
        return launcher

    def launch_run(self, context: LaunchRunContext) -> None:
        """Create a run's job; where the cluster does not answer, the run goes back into the queue for a while.

        An answer that was lost left a job, which the next attempt finds: it is the run's, and goes on; failing the run
        would let its retry work beside it.

        Raises:
            TryLaunchLaterError: It does not answer, by which the queue knows to try again.
        """
        try:
            super().launch_run(context)
        except DagsterK8sAPIRetryLimitExceeded as error:
            raise TryLaunchLaterError(f"Kubernetes does not answer: {error}") from error
        except DagsterK8sUnrecoverableAPIError as error:
            if getattr(error.k8s_api_exception, "status", None) != HTTPStatus.CONFLICT:
                raise
            said = "Kubernetes has its job from an earlier attempt."
            self._instance.report_engine_event(said, context.dagster_run)

    def configured_run(self, run: dg.DagsterRun, needs: RunNeeds, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of a run; resources that its tag names already stay as they are.

        Cores are requested and not limited, because a limit slows a run down even while cores are idle; memory is both,
        so that a run that takes more ends alone.
        """
        memory = {"memory": str(needs.memory_bytes)} if needs.memory_bytes else {}
        gpus = {"nvidia.com/gpu": str(needs.gpus)} if needs.gpus else {}
        asked = {"requests": {"cpu": str(needs.cpus), **memory, **gpus}, "limits": {**memory, **gpus}}
        container = own.get("container_config") or {}
        return {**own, "container_config": {"resources": asked, **container}}
