"""Backfills on a real Ray cluster, measured: what a run costs beyond its work and where, on two nodes and on one.

``python -m tests.campaigns.ray_cluster --count 8`` takes some minutes and prints a table. The specs are so small that
nearly all of it is overhead. Needs the extra ``scale``, and PostgreSQL.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from assay.backfills.backfill import STATES, load_backfill
from assay.backfills.dagster_server import DagsterServer
from assay.experiments.profiles import DATABASE_VARIABLE
from tests.helpers.databases import Postgres, postgres
from tests.helpers.projects import Project
from tests.helpers.ray_clusters import RayCluster, environment_of, ray_folder
from tests.helpers.servers import Servers, wait_until

SPEC = """\
task: regression
name: {name}
generated_images: {{source: {{kind: table, path: {table}, target_column: y}}}}
trained_model: {{seed: {seed}, train_params: {{epochs: 1, least_steps: 1, threads: 1}}}}
analysis: {{result_analyzer: {{bootstrap_samples: 20}}}}
exptests: {{tests: []}}
"""

RUNS = """query($id: String!) { runsOrError(filter: {tags: [{key: "dagster/backfill", value: $id}]}) {
  ... on Runs { results { runId status creationTime startTime endTime
    eventConnection { events { ... on MessageEvent { message timestamp eventType } } } } } } }"""

PHASES = {
    "waits in Dagster's queue": ("created", "dequeued"),
    "is submitted to Ray": ("dequeued", "submitted"),
    "waits for a node, process starts and imports": ("submitted", "process"),
    "loads the definitions": ("process", "begun"),
    "works": ("begun", "ended"),
}
"""What a run does, from which moment to which."""


def moments(run: Mapping) -> dict[str, float]:
    """Return when a run did what, in seconds since the epoch."""
    found = {"created": float(run["creationTime"]), "ended": float(run["endTime"]), "begun": float(run["startTime"])}
    for event in run["eventConnection"]["events"]:
        at, text = float(event.get("timestamp") or 0) / 1000, event.get("message") or ""
        if event.get("eventType") == "RUN_STARTING":
            found["dequeued"] = at
        elif "Ray run job created" in text:
            found["submitted"] = at
        elif "Started process for run" in text:
            found["process"] = at
    return found


def database_of(server: Postgres) -> dict[str, int]:
    """Return what the database has done and holds: transactions, rows written, bytes, events."""
    with closing(psycopg2.connect(server.url.replace("+psycopg2", ""))) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT xact_commit, tup_inserted + tup_updated, pg_database_size(datname) FROM pg_stat_database "
            "WHERE datname = 'assay'"
        )
        commits, written, size = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM event_logs")
        (events,) = cursor.fetchone()
    return {"transactions": commits, "rows written": written, "bytes": size, "events": events}


def costs_of_looks(cluster: RayCluster) -> str:
    """Return what Ray's job server takes for one look at a run, and how much it keeps of each."""
    jobs = cluster.jobs()
    begin = time.monotonic()
    for each in jobs.values():
        cluster.ask(f"/api/jobs/{each['submission_id']}")
    seconds = (time.monotonic() - begin) / len(jobs)
    kept = statistics.median(len(json.dumps(each)) for each in jobs.values())
    return f"a look at a job takes {1000 * seconds:.1f} ms; Ray keeps {kept / 1000:.1f} kB of each of {len(jobs)} jobs"


def measure(project: Project, servers: Servers, database: Postgres, name: str) -> tuple[float, list, dict[str, int]]:
    """Run a backfill; returns its seconds, its runs, and what the database did meanwhile."""
    time.sleep(12)  # statistics are written some seconds later
    before, begin = database_of(database), time.monotonic()
    code, output = project.assay("backfill", "--where", f"name = '{name}'", "--url", servers.url)
    assert code == 0, output
    backfill_id, server, connections = output.splitlines()[0], DagsterServer(servers.url), 0

    def is_over() -> bool:
        nonlocal connections
        connections = max(connections, connections_of(database))
        backfill = load_backfill(server, backfill_id)
        return backfill.ids("done", "failed") == backfill.ids(*STATES)

    wait_until(is_over, "the backfill is over", 1800, every_s=0.5)
    seconds = time.monotonic() - begin
    time.sleep(12)
    after = database_of(database)
    runs = servers.graphql(RUNS, id=backfill_id)["runsOrError"]["results"]
    print(f"\n{name}: at most {connections} connections to PostgreSQL at a time")
    return seconds, runs, {key: after[key] - before[key] for key in after}


def connections_of(server: Postgres) -> int:
    """Return how many connections there are, without this one."""
    with closing(psycopg2.connect(server.url.replace("+psycopg2", ""))) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'assay' AND pid <> pg_backend_pid()")
        return int(cursor.fetchone()[0])


def report(title: str, seconds: float, runs: Sequence[Mapping], spent: Mapping[str, int]) -> None:
    done = sum(run["status"] == "SUCCESS" for run in runs)
    print(f"\n{title}: {done} of {len(runs)} runs done in {seconds:.1f} s, {seconds / len(runs):.2f} s per experiment")
    times = [moments(run) for run in runs]
    for phase, (start, end) in PHASES.items():
        values = [each[end] - each[start] for each in times if start in each and end in each] or [float("nan")]
        print(f"  {phase:46} median {statistics.median(values):6.2f} s, most {max(values):6.2f} s")
    print(
        "  " + ", ".join(f"{value / len(runs):,.0f} {key}" for key, value in spent.items()) + " per run in PostgreSQL"
    )


def write(project: Project, name: str, count: int, first_seed: int) -> None:
    draw = random.Random(0).random
    table = project.folder / f"{name}.csv"
    lines = [(draw(), draw()) for _ in range(60)]
    table.write_text("\n".join(["a,b,y", *(f"{a},{b},{2 * a + b}" for a, b in lines)]) + "\n")
    for seed in range(count):
        project.write(f"{name}{seed}", SPEC.format(name=name, table=table, seed=first_seed + seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=8, help="experiments per backfill")
    count = parser.parse_args().count
    with (
        tempfile.TemporaryDirectory() as name,
        ray_folder() as folder,
        postgres() as database,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv(DATABASE_VARIABLE, database.url)
        project = Project(Path(name))
        servers = Servers(project)
        cluster = RayCluster(servers, folder)
        environment_of(patch, cluster.address)
        code, output = project.assay("init", "--profile", "ray")
        assert code == 0, output
        for number, backfill in enumerate(("warm", "two", "one")):
            write(project, backfill, 1 if backfill == "warm" else count, 100 * number)
        try:
            cluster.start_head()
            cluster.start_node("node1")
            cluster.start_node("node2")
            servers.start_webserver(300)
            servers.pause_automation()
            servers.start_daemon()
            measure(project, servers, database, "warm")
            report("two nodes of one core", *measure(project, servers, database, "two"))
            print(f"  {costs_of_looks(cluster)}")
            servers.kill("node2")
            wait_until(lambda: len(cluster.alive()) == 2, "the head has noticed", 300)
            report("one node of one core", *measure(project, servers, database, "one"))
        finally:
            servers.close()


if __name__ == "__main__":
    main()
