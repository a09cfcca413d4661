"""The profile ray on a real cluster of a head and two nodes, and a real PostgreSQL: a backfill, a kill, a lost node.

One machine plays all of them, so the shared folder is a real one. One cluster, database and set of Dagster's processes
for the file.
"""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay.backfills.backfill import STATES, load_backfill
from assay.backfills.dagster_server import DagsterServer
from assay.experiments.profiles import DATABASE_VARIABLE
from tests.helpers.databases import Postgres, postgres
from tests.helpers.projects import Project, digests
from tests.helpers.ray_clusters import RayCluster, environment_of, ray_folder
from tests.helpers.servers import Servers, serve, wait_until

pytest.importorskip("dagster_ray", reason="the extra scale is not installed")
pytest.importorskip("aiohttp_cors", reason="the extra scale is not installed")

pytestmark = pytest.mark.system

EXPERIMENTS = int(os.environ.get("ASSAY_RAY_EXPERIMENTS", "3"))
"""Experiments of the undisturbed backfill; by hand, more of them: ASSAY_RAY_EXPERIMENTS=8."""

SPEC = """\
task: regression
name: {name}
generated_images:
  source: {{kind: table, path: {table}, target_column: y}}
trained_model:
  seed: {seed}
  train_params: {{epochs: {epochs}, least_steps: 1, threads: 1, checkpoint_every_s: 1}}
analysis:
  result_analyzer: {{bootstrap_samples: 20}}
exptests: {{tests: []}}
"""
LONG = 100_000
"""Epochs of a training that is at work for as long as a test wants; its second run reads a corrected spec."""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, server.url)
        yield server


def spec_of(table: Path, name: str, seed: int, epochs: int) -> str:
    return SPEC.format(name=name, table=table, seed=seed, epochs=epochs)


@pytest.fixture(scope="module")
def project(database, tmp_path_factory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    draw = random.Random(0).random
    rows = [(draw(), draw()) for _ in range(60)]
    table = project.folder / "rows.csv"
    table.write_text("\n".join(["a,b,y", *(f"{a},{b},{2 * a + b}" for a, b in rows)]) + "\n")
    for seed in range(EXPERIMENTS):
        project.write(f"quick{seed}", spec_of(table, "quick", seed, epochs=1))
    for seed in (100, 101):
        project.write(f"long{seed}", spec_of(table, "long", seed, LONG))
    return project


@pytest.fixture(scope="module")
def servers(project, request) -> Iterator[Servers]:
    with ray_folder() as folder, pytest.MonkeyPatch.context() as patch, serve(project, request) as servers:
        servers.cluster = RayCluster(servers, folder)
        environment_of(patch, servers.cluster.address)
        code, output = project.assay("init", "--profile", "ray")
        assert code == 0, output
        servers.cluster.start_head()
        for name in ("node1", "node2"):
            servers.cluster.start_node(name)
        servers.start_webserver(300)
        servers.pause_automation()
        servers.start_daemon()
        yield servers


def runs_of(servers: Servers, experiment_id: str) -> list[dict]:
    """Return the runs of an experiment, the first one first."""
    query = """query($id: String!) { runsOrError(filter: {tags: [{key: "dagster/partition", value: $id}]}) {
      ... on Runs { results { runId status creationTime tags { key value } } } } }"""
    found = servers.graphql(query, id=experiment_id)["runsOrError"]["results"]
    return sorted(found, key=lambda run: float(run["creationTime"]))


def said_by(servers: Servers, run_id: str, kind: str = "") -> list[str]:
    """Return the messages of a run's events, of one kind or of all."""
    query = """query($id: ID!) { runOrError(runId: $id) { ... on Run { eventConnection { events {
      __typename ... on MessageEvent { message } } } } } }"""
    events = servers.graphql(query, id=run_id)["runOrError"]["eventConnection"]["events"]
    return [each["message"] for each in events if not kind or each["__typename"] == kind]


def start(project: Project, servers: Servers, name: str) -> str:
    code, output = project.assay("backfill", "--where", f"name = '{name}'", "--url", servers.url)
    assert code == 0, output
    return output.splitlines()[0]


def ended(servers: Servers, backfill_id: str, timeout_s: float = 900):
    """Wait until all experiments of a backfill are done or failed."""
    server = DagsterServer(servers.url)

    def is_over():
        backfill = load_backfill(server, backfill_id)
        return backfill if backfill.ids("done", "failed") == backfill.ids(*STATES) else None

    def stays_over():
        if is_over():
            time.sleep(3)  # Dagster fails a run first, and notes that it will be retried a moment later
        return is_over()

    return wait_until(stays_over, "the backfill is over", timeout_s, every_s=1)


def trains(servers: Servers, experiment_id: str) -> str | None:
    """Return the run of an experiment that is training; None if none is."""
    for run in runs_of(servers, experiment_id):
        if run["status"] == "STARTED" and any(
            'step "trained_model"' in each for each in said_by(servers, run["runId"])
        ):
            return run["runId"]
    return None


def kill_run(servers: Servers, run_id: str) -> None:
    """Kill the processes that execute a run, all at once."""
    for each in servers.everything():
        if "execute_run" in (words := " ".join(each.cmdline())) and run_id in words:
            each.send_signal(signal.SIGKILL)


def test_every_experiment_of_a_backfill_is_made_once_with_the_bytes_of_one_machine(project, servers):
    over = ended(servers, start(project, servers, "quick"))
    names = [f"quick{seed}" for seed in range(EXPERIMENTS)]
    assert over.ids("done") == names
    jobs = servers.cluster.jobs()
    for name in names:
        (run,) = runs_of(servers, name)
        assert [each for each in said_by(servers, run["runId"]) if "Asks for" in each] == ["Asks for 1 CPU, 0 GPU."]
        assert jobs[run["runId"]]["status"] in ("RUNNING", "SUCCEEDED"), "it says that it is done before it has ended"
    alone = Project(project.folder / "alone")
    alone.write("quick0", project.spec("quick0"))
    code, output = alone.assay("run", "quick0")
    assert code == 0, output
    made = digests(alone.storage)
    assert made
    assert made.items() <= digests(project.storage).items()


def test_a_killed_run_and_a_lost_node_are_noticed_and_each_run_is_tried_once_more(project, servers):
    backfill_id = start(project, servers, "long")
    killed, lost = (
        wait_until(lambda name=name: trains(servers, name), f"{name} trains", 600, every_s=1)
        for name in ("long100", "long101")
    )
    for name in ("long100", "long101"):
        project.write(name, project.spec(name).replace(str(LONG), "1"))
    node = servers.cluster.jobs()[lost]["driver_node_id"]
    kill_run(servers, killed)
    servers.kill(servers.cluster.name_of(node))
    assert ended(servers, backfill_id).ids("done") == ["long100", "long101"]
    for name, run_id in (("long100", killed), ("long101", lost)):
        first, second = runs_of(servers, name)
        assert (first["runId"], first["status"], second["status"]) == (run_id, "FAILURE", "SUCCESS")
        (reason,) = said_by(servers, run_id, "RunFailureEvent")
        assert "Its job on Ray ended as FAILED" in reason


def test_the_doctor_finds_a_node_with_another_version_of_assay(project, servers, tmp_path, monkeypatch):
    other = tmp_path / "assay-9.9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: assay\nVersion: 9.9.9\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    servers.cluster.start_node("odd")
    monkeypatch.undo()
    code, output = project.assay("doctor", "--json", timeout=600)
    ((level, text),) = found = [
        (each["level"], each["text"]) for each in json.loads(output) if each["area"] == "engine"
    ]
    assert code == 1, found
    assert (level, text.startswith("Assay differs, and so may results: 0.1.0")) == ("problem", True), found
    assert "; 9.9.9 (code" in text
    servers.kill("odd")
