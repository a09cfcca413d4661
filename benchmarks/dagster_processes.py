"""Dagster's web server and daemon in a temporary project, and what each run cost, read from its events."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import yaml
from dagster import DagsterEventType as Kind

from assay.backfills.dagster_server import AssetPath, DagsterServer, expect, load_workspace
from assay.backfills.launch import launch
from assay.errors import ServerError
from benchmarks.runs import BIN, ROOT, Bench

STOP = "mutation($id: String) { stopSensor(id: $id) { __typename } }"
SENSORS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { id } } } } }"
RUN = """mutation($wanted: ExecutionParams!) { launchRun(executionParams: $wanted) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on Error { message } } }"""
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class RunTimes:
    """Seconds of one run: waiting in the queue, until its process runs, until it is loaded, and executing."""

    queue: float
    process: float
    load: float
    steps: float
    events: float

    @property
    def total(self) -> float:
        return self.queue + self.process + self.load + self.steps


def medians(runs: list[RunTimes]) -> RunTimes:
    columns = {name: median(getattr(run, name) for run in runs) for name in RunTimes.__dataclass_fields__}
    return RunTimes(**columns)


class Daemon(Bench):
    """A project with web server and daemon; ``own_launcher=False`` takes Dagster's run launcher instead of ours."""

    def __init__(self, folder: Path, own_launcher: bool = True) -> None:
        super().__init__(folder)
        settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
        if not own_launcher:
            del settings["run_launcher"]
        (folder / "home" / "dagster.yaml").write_text(yaml.safe_dump(settings))
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.server = DagsterServer(f"http://127.0.0.1:{self._port}")

    @contextmanager
    def running(self, automation: bool = False) -> Iterator[dg.DagsterInstance]:
        """Start both, with automation paused unless it is wanted; end them after the block."""
        entrance = ("python", "-m", "resources.instance.web", "webserver")  # as `make dev` starts it
        web = self._start(*entrance, "-h", "127.0.0.1", "-p", str(self._port), "-m", "definitions")
        daemon = self._start("dagster-daemon", "run", "-m", "definitions")
        try:
            self._insist(lambda: load_workspace(self.server))
            if not automation:
                self._insist(self._pause_automation)
            with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
                yield instance
        finally:
            for process in (daemon, web):
                process.terminate()
                process.wait()

    def _pause_automation(self) -> None:
        for repository in self.server.ask(SENSORS)["repositoriesOrError"]["nodes"]:
            for sensor in repository["sensors"]:
                self.server.ask(STOP, id=sensor["id"])

    def backfill(self, assets: list[AssetPath], experiment_ids: list[str]) -> str:
        """Ask for one run per experiment, and return the backfill's ID."""
        load_workspace(self.server).add_experiments(experiment_ids)
        return launch(self.server, assets, experiment_ids, "benchmark")

    def run_one(self, instance: dg.DagsterInstance, job: str, assets: list[AssetPath], experiment_id: str) -> RunTimes:
        """Run one experiment at once, as the UI's Materialize does; a backfill waits for the daemon's next look."""
        place = load_workspace(self.server)
        place.add_experiments([experiment_id])
        keys = [{"path": list(path)} for path in assets]
        wanted = {
            "selector": {**place.selector, "jobName": job, "assetSelection": keys},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": experiment_id}]},
        }
        answer = expect(self.server.ask(RUN, wanted=wanted)["launchRun"], "LaunchRunSuccess")
        run_id = str(answer["run"]["runId"])
        wait_for(instance, dg.RunsFilter(run_ids=[run_id]), 1, timeout_s=300)
        return times_of(instance, run_id)

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [str(BIN / command[0]), *command[1:]], cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    @staticmethod
    def _insist(question: Callable[[], Any]) -> None:
        """Ask until there is an answer: a server that starts refuses, or finds its databases locked by the daemon."""
        deadline = time.monotonic() + 120
        while True:
            try:
                question()
                return
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def wait_for(instance: dg.DagsterInstance, wanted: dg.RunsFilter, count: int, timeout_s: float) -> list[dg.RunRecord]:
    """Wait until as many runs are over.

    Raises:
        RuntimeError: One of them failed, or they take too long.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        runs = instance.get_run_records(wanted)
        if len(runs) == count and all(run.dagster_run.status in OVER for run in runs):
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(runs)} of {count} runs within {timeout_s:g} s")
        time.sleep(0.25)
    failed = [run.dagster_run.run_id for run in runs if run.dagster_run.status is not dg.DagsterRunStatus.SUCCESS]
    if failed:
        raise RuntimeError(f"failed: {failed}")
    return list(runs)


def times_of(instance: dg.DagsterInstance, run_id: str) -> RunTimes:
    """Return where a run's time went."""
    events = instance.all_logs(run_id)
    at: dict[Any, float] = {}
    for event in events:
        if event.dagster_event:
            kind = event.dagster_event.event_type
            message = event.dagster_event.message or ""
            at.setdefault("process" if message.startswith("Started process for run") else kind, event.timestamp)
    queued, starting, started = at[Kind.PIPELINE_ENQUEUED], at[Kind.PIPELINE_STARTING], at[Kind.PIPELINE_START]
    ended = at[Kind.PIPELINE_SUCCESS]
    process = at["process"]
    return RunTimes(starting - queued, process - starting, started - process, ended - started, len(events))
