"""Dagster's web server and daemon as real processes of a temporary project, queried through GraphQL.

Belongs here: starting, killing, querying. Does not belong here: what a test checks.

Use the fixture ``servers``, or ``serve(project, request)`` in a fixture of another scope::

    servers.start_webserver()
    servers.start_daemon()
    servers.graphql("query { version }")
    servers.kill("daemon")      # SIGKILL, with its code server and the runs that it started
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.helpers.projects import BIN, ROOT, Project

ARTIFACTS = Path(os.environ.get("ASSAY_ARTIFACTS") or ROOT / "test-artifacts")
CODE = ("-m", "definitions")
WEB = ("python", "-m", "resources.instance.web")

STOP_SENSOR = "mutation($id: String) { stopSensor(id: $id) { __typename ... on Error { message } } }"

T = TypeVar("T")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(question: Callable[[], T], what: str, timeout_s: float = 120, every_s: float = 0.5) -> T:
    """Return the first truthy answer; fails after ``timeout_s`` seconds and shows the last one."""
    deadline = time.monotonic() + timeout_s
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}; last answer: {answer!r}"
        time.sleep(every_s)
    return answer


class Servers:
    """Processes of one project by name; each writes ``logs/<name>.log`` in the project's folder."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.logs = project.folder / "logs"
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_webserver(self, timeout_s: float = 120) -> None:
        """Start the web server, guarded as ``make dev`` starts it, and wait until it answers."""
        self.start("webserver", *WEB, "webserver", "-h", "127.0.0.1", "-p", str(self.port), *CODE)
        wait_until(self.answers, f"{self.url} answers", timeout_s)

    def start_daemon(self) -> None:
        """Start ``dagster-daemon run``; it begins to work some seconds later."""
        self.start("daemon", "dagster-daemon", "run", *CODE)

    def start(self, name: str, *command: str) -> None:
        """Start one process; its log is appended to that of an earlier process of the same name."""
        assert name not in self.processes, f"{name} is running already"
        self.logs.mkdir(exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(BIN / command[0]), *command[1:]],
                cwd=ROOT,
                env=self.project.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the test's terminal is for the test
            )

    def kill(self, name: str) -> None:
        """Kill a process and all its descendants at once, as a power cut would."""
        _kill(self._family(name))
        self.processes.pop(name).wait()

    def cut_power(self, *spared: str) -> None:
        """Kill every process of the project, including runs, except the spared servers and their descendants."""
        kept = {each.pid for name in spared for each in self._family(name)}
        _kill([each for each in self.everything() if each.pid not in kept])
        for name in set(self.processes) - set(spared):
            self.processes.pop(name).wait()

    def _family(self, name: str) -> list[psutil.Process]:
        process = psutil.Process(self.processes[name].pid)
        return [process, *process.children(recursive=True)]

    def stop(self, name: str, timeout_s: float = 60) -> None:
        """Ask a process to end, and wait until it has."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGINT)
        process.wait(timeout_s)

    def close(self) -> None:
        """End all processes of the project, including orphaned runs."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)
        psutil.wait_procs(self.everything(), timeout=10)
        _kill(self.everything())
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def everything(self) -> list[psutil.Process]:
        """Return every living process that works in the project's Dagster home."""
        home = self.project.environment["DAGSTER_HOME"]
        return [each for each in psutil.process_iter() if each.pid != os.getpid() and _home_of(each) == home]

    def answers(self) -> bool:
        if (code := self.processes["webserver"].poll()) is not None:
            raise AssertionError(f"the web server ended with {code}: {(self.logs / 'webserver.log').read_text()}")
        with suppress(OSError):
            urllib.request.urlopen(f"{self.url}/server_info", timeout=5).close()  # noqa: S310 - loopback
            return True
        return False

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of a query or mutation; an error in the answer fails the test."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/graphql", body, headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def pause_automation(self) -> None:
        """Stop every sensor, as the switch in the UI does, so that only the test starts runs."""
        answer = self.graphql("{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { id } } } } }")
        for repository in answer["repositoriesOrError"]["nodes"]:
            for sensor in repository["sensors"]:
                stopped = self.graphql(STOP_SENSOR, id=sensor["id"])["stopSensor"]
                assert stopped["__typename"] == "StopSensorMutationResult", stopped


@contextmanager
def serve(project: Project, request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Yield a project's servers, and save their logs among the artifacts if a test failed meanwhile."""
    failed_before = request.session.testsfailed
    servers = Servers(project)
    try:
        yield servers
    finally:
        servers.close()
        if request.session.testsfailed > failed_before and servers.logs.is_dir():
            shutil.copytree(servers.logs, ARTIFACTS / "logs" / request.node.name, dirs_exist_ok=True)


def _home_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error):
        return process.environ().get("DAGSTER_HOME")
    return None


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
