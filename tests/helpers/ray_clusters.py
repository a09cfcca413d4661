"""A Ray cluster of several nodes on loopback, each a process of its own that can be killed like a machine.

Belongs here: starting nodes. Does not belong here: what a test checks. They are processes of ``Servers``, so they end
with it::

    cluster = RayCluster(servers)
    cluster.start_head()
    cluster.start_node("node1")
    servers.kill("node1")       # SIGKILL, with the runs that work on it
"""

import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from assay.experiments.profiles import RAY_VARIABLE
from tests.helpers.projects import BIN
from tests.helpers.servers import Servers, free_port, wait_until

PATIENCE = {
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_timeout_ms": "60000",
    "RAY_health_check_initial_delay_ms": "60000",
    "RAY_health_check_failure_threshold": "10",
}
"""Ray's own timeouts, which a busy machine of two cores reaches; a killed node is noticed by its closed connection."""


@dataclass
class RayCluster:
    """Ports and folder of a cluster whose processes are among those of ``servers``."""

    servers: Servers
    folder: Path
    port: int = field(default_factory=free_port)
    dashboard_port: int = field(default_factory=free_port)
    nodes: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    def start_head(self, cpus: int = 0) -> None:
        """Start the head, and wait until its job server answers."""
        places = [f"--port={self.port}", f"--dashboard-port={self.dashboard_port}", f"--temp-dir={self.folder}"]
        self._start("head", "--head", *places, "--include-dashboard=true", f"--num-cpus={cpus}")
        wait_until(self._answers, "the job server of Ray answers", 300)
        self._joined("head")

    def start_node(self, name: str, cpus: int = 1) -> None:
        """Start a node, and wait until it has joined."""
        self._start(name, f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}")
        self._joined(name)

    def _joined(self, name: str) -> None:
        """Wait for a node that is not known yet, since the head tells of nodes some seconds late."""
        known = set(self.nodes.values())
        (self.nodes[name],) = wait_until(lambda: self.alive() - known, f"{name} has joined", 300)

    def name_of(self, node: str) -> str:
        """Return the name under which a node was started, by Ray's ID of it."""
        return next(name for name, known in self.nodes.items() if known == node)

    def _start(self, name: str, *arguments: str) -> None:
        # Two nodes of one machine must not share the ports that have a usual number.
        own = [f"--{each}={free_port()}" for each in ("dashboard-agent-listen-port", "metrics-export-port")]
        memory = ["--object-store-memory=80000000", "--node-ip-address=127.0.0.1"]
        self.servers.start(name, "ray", "start", "--block", "--disable-usage-stats", *arguments, *own, *memory)

    def _answers(self) -> bool:
        if (code := self.servers.processes["head"].poll()) is not None:
            raise AssertionError(f"the head ended with {code}: {(self.servers.logs / 'head.log').read_text()}")
        with suppress(OSError):
            return bool(self.ask("/api/version"))
        return False

    def alive(self) -> set[str]:
        """Return the IDs of the nodes that Ray takes to be alive, the head among them."""
        nodes = self.ask("/nodes?view=summary")["data"]["summary"]
        return {node["raylet"]["nodeId"] for node in nodes if node["raylet"].get("state") == "ALIVE"}

    def jobs(self) -> dict[str, dict]:
        """Return Ray's jobs of runs, by the ID of the run."""
        return {each["metadata"].get("dagster/run-id"): each for each in self.ask("/api/jobs/") if each["metadata"]}

    def ask(self, path: str) -> dict:
        with urllib.request.urlopen(f"{self.address}{path}", timeout=60) as answer:  # noqa: S310 - loopback
            return json.load(answer)


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Yield a folder with a short name, for the paths of Ray's sockets may have 107 characters only."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment_of(patch: pytest.MonkeyPatch, cluster_address: str) -> None:
    """Set what daemon and nodes need to find each other, and the commands of this environment."""
    patch.setenv(RAY_VARIABLE, cluster_address)
    patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
    for name, value in PATIENCE.items():
        patch.setenv(name, value)
