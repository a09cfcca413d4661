"""The run launcher: starts each run as a process that outlives the daemon, and reports which runs are alive.

It is set in ``dagster.yaml``. Dagster's own launcher keeps runs in the code server: they die with it and stay "started"
for ever, and each of them imports everything again.

Belongs here: the interface of a run launcher. Does not belong here: processes and their files (``run_process``,
``run_template``).
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

from assay.experiments.last_run import PARTITION_TAG
from assay.experiments.profiles import keeps_records_elsewhere
from assay.spec.ids import is_id
from resources.instance.run_process import RunFiles, RunOrigin, claimed_in_terminal, ended_within, kill, spawn
from resources.instance.run_records import SENSOR_TAG, give_up
from resources.instance.run_template import TemplateProcess

__all__ = ["CheckRunHealthResult", "LaunchRunContext", "ProcessRunLauncher", "RunLauncher", "WorkerStatus"]
"""The launcher, and what every launcher needs of Dagster's private module, which one file alone imports."""


class ProcessRunLauncher(RunLauncher[dg.DagsterInstance], ConfigurableClass):
    """One process per run: forked from a template process that has imported everything, or a fresh one.

    Fresh processes are started while the template loads, after a change of a source file until the next template has
    loaded, and always where forking is not safe, as on macOS.
    """

    def __init__(
        self, preload: list[str], kill_after_seconds: int, fork: bool, inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._preload = preload
        self._patience_s = kill_after_seconds
        self._may_fork = fork and sys.platform == "linux"
        self._inst_data = inst_data
        self._template: TemplateProcess | None = None
        self._lock = threading.Lock()
        self._children: list[subprocess.Popen[bytes]] = []
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The entry of ``dagster.yaml``."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the keys of the entry's ``config``."""
        return {
            "fork": dg.Field(bool, default_value=True, description="Fork runs from a template where that is safe."),
            "preload": dg.Field([str], default_value=[], description="Modules the template imports, with definitions."),
            "kill_after_seconds": dg.Field(int, default_value=20, description="Patience with a run being canceled."),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> "ProcessRunLauncher":
        """Return the launcher that ``dagster.yaml`` describes."""
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run, without waiting for it."""
        run = context.dagster_run
        origin = run.job_code_origin
        if origin is None:
            raise dg.DagsterInvariantViolationError(f"Run {run.run_id} does not say where its code is.")
        if self._is_given_up(run):
            return
        files = RunFiles.of(self._instance, run.run_id)
        arguments = dg.serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref()))
        with self._lock:
            pid = self._fork(origin, arguments, files)
            how = "Forked" if pid else "Started"
            pid = pid or self._spawn(origin, arguments, files)
        self._instance.report_engine_event(f"{how} process {pid} for the run; it logs to {files.log}", run)

    def _is_given_up(self, run: dg.DagsterRun) -> bool:
        """Cancel a run that automation has requested, if a run in a terminal makes the same."""
        experiment_id = run.tags.get(PARTITION_TAG, "")
        if SENSOR_TAG not in run.tags or not is_id(experiment_id) or not run.asset_selection:
            return False
        other, assets = claimed_in_terminal(self._instance, experiment_id)
        return give_up(self._instance, run, other, assets) if other else False

    def _fork(self, origin: RunOrigin, arguments: str, files: RunFiles) -> int | None:
        """Fork a run from the template; returns its process ID, or None if there is no template that is ready."""
        if not self._may_fork:
            return None
        if self._template and self._template.stale:
            self._template.close()
            self._template = None
        if self._template is None:
            self._template = TemplateProcess(origin, self._preload)
        if not (self._template.serves(origin) and self._template.ready):
            return None
        return self._template.fork(arguments, files)

    def _spawn(self, origin: RunOrigin, arguments: str, files: RunFiles) -> int:
        self._children = [child for child in self._children if child.poll() is None]  # polling reaps ended processes
        self._children.append(spawn(origin.executable_path, arguments, files))
        return self._children[-1].pid

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, and kill it if it does not end in time.

        Returns:
            Whether there was a run to terminate.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        files = RunFiles.of(self._instance, run_id)
        if run.status == dg.DagsterRunStatus.STARTED and self._is_elsewhere(files):
            told = "This machine has no process of the run: cancel it on the machine that started it"
            self._instance.report_engine_event(f"{told}; should that be gone, force the termination.", run)
            return False
        self._instance.report_run_canceling(run)
        pid = files.process_id()
        if pid is not None and files.alive:
            os.kill(pid, signal.SIGTERM)
            threading.Thread(target=self._await_end, args=(run_id, files, pid), daemon=True).start()
        elif run.status == dg.DagsterRunStatus.STARTED:
            self._instance.report_run_canceled(run, "The run's process was gone already.")
        return True  # a process that is about to start sees that the run is canceled

    def _is_elsewhere(self, files: RunFiles) -> bool:
        """Return whether a started run may be at work on another machine that has the same records."""
        return not files.known and keeps_records_elsewhere(Path(self._instance.root_directory))

    def _await_end(self, run_id: str, files: RunFiles, pid: int) -> None:
        message = f"Process {pid} ended before it could say so."
        if not ended_within(self._patience_s, files):
            kill(pid)
            message = f"Process {pid} was killed: it did not end within {self._patience_s} s."
        run = self._instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            self._instance.report_run_canceled(run, message)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """True: by this check, Dagster ends runs whose process died."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a started run is alive."""
        files = RunFiles.of(self._instance, run.run_id)
        pid = files.process_id()
        if files.alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))
        if not files.known:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Not started by this launcher, or about to end.")
        return CheckRunHealthResult(WorkerStatus.FAILED, f"process {pid} is gone", run_worker_id=str(pid))

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:
        """Return the end of the process's log, for the message about a failed run."""
        files = RunFiles.of(self._instance, run.run_id)
        tail = files.log_tail()
        return f"The end of {files.log}:\n{tail}" if tail else None

    def dispose(self) -> None:
        """End the template process; runs continue."""
        with self._lock:
            if self._template:
                self._template.close()
                self._template = None
