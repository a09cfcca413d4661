"""Backfills with the real web server and daemon: twenty through a power cut; cancelling, going on, trying again.

One server for the file, because starting one takes as long as ten experiments.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator

import dagster as dg
import pytest

from assay.backfills.backfill import STATES, Backfill, load_backfill
from assay.backfills.dagster_server import DagsterServer
from assay.pipeline import STAGES
from assay.storage.locks.acquire import hold
from tests.helpers.servers import Servers, serve, wait_until

pytestmark = pytest.mark.system

SPEC = """\
task: regression
name: {name}
filelock_dict: {{gate: {{location: gate}}}}
generated_images:
  source: {{kind: table, path: {table}, target_column: {target}}}
splits:
  seed: {data}
trained_model:
  seed: {training}
  train_params: {{epochs: 1, least_steps: 1}}
analysis:
  result_analyzer: {{bootstrap_samples: 20}}
exptests: {{tests: []}}
"""

DATA_VARIANTS = 5
EXPERIMENTS = 20
WANTED = {"generated_images": 1, "splits": 5, "tabular": 5, "normalized": 5} | dict.fromkeys(
    ("trained_model", "predictions", "analysis"), EXPERIMENTS
)
"""How many results of each stage there are in the end: what experiments share exists once."""


def write_experiment(servers: Servers, name: str, number: int, target: str = "y") -> None:
    """Write one that differs from others in its training, and shares its data with every fifth."""
    table = servers.project.folder / "rows.csv"
    if not table.exists():
        draw = random.Random(0).random
        rows = [(draw(), draw()) for _ in range(60)]
        table.write_text("\n".join(["a,b,y", *(f"{a},{b},{2 * a + b}" for a, b in rows)]) + "\n")
    values = {
        "name": name.strip("0123456789"),
        "table": table,
        "target": target,
        "data": number % DATA_VARIANTS,
        "training": number,
    }
    servers.project.write(name, SPEC.format(**values))


@pytest.fixture(scope="module")
def started(module_project, request) -> Iterator[Servers]:
    (module_project.folder / "experiments" / "tiny.yaml").unlink()
    with serve(module_project, request) as servers:
        servers.start_webserver()
        servers.pause_automation()
        servers.start_daemon()
        yield servers


def start_backfill(servers: Servers, *arguments: str) -> str:
    """Start one from the command line; returns its ID."""
    code, output = servers.project.assay("backfill", *arguments, "--url", servers.url)
    assert code == 0, output
    return output.splitlines()[0]


def control(servers: Servers, *arguments: str) -> str:
    """Call ``assay backfills``; returns what it prints."""
    code, output = servers.project.assay("backfills", *arguments, "--url", servers.url)
    assert code == 0, output
    return output


def wait_for(servers: Servers, backfill_id: str, done: int, every_s: float = 2) -> Backfill:
    """Wait until so many experiments of a backfill are done."""

    def look() -> Backfill | None:
        backfill = load_backfill(DagsterServer(servers.url), backfill_id)
        print(backfill.status, backfill.counts)
        return backfill if backfill.counts["done"] >= done else None

    return wait_until(look, f"{done} experiments of {backfill_id} are done", 900, every_s)


def wait_until_over(servers: Servers, backfill_id: str) -> Backfill:
    """Wait until a backfill will do no more."""

    def look() -> Backfill | None:
        backfill = load_backfill(DagsterServer(servers.url), backfill_id)
        print(backfill.status, backfill.counts)
        return backfill if backfill.is_finished else None

    return wait_until(look, f"{backfill_id} is over", 300, every_s=2)


def wait_for_all(servers: Servers, backfill_id: str) -> Backfill:
    """Wait until every experiment of a backfill is done or has failed; the daemon itself sees that up to 30 s later."""

    def look() -> Backfill | None:
        backfill = load_backfill(DagsterServer(servers.url), backfill_id)
        return backfill if backfill.ids("done", "failed") == backfill.ids(*STATES) else None

    return wait_until(look, f"{backfill_id} has run everything", 300, every_s=2)


def builds(instance: dg.DagsterInstance) -> Counter[tuple[str, str]]:
    """Return how often each result was built, by stage and fingerprint, as the logs of all runs tell."""
    found: Counter[tuple[str, str]] = Counter()
    for run in instance.get_runs():
        logs = instance.all_logs(run.run_id)
        built = {match[1] for entry in logs if (match := re.fullmatch(r"(\w+): built, .*", entry.user_message))}
        made = {entry.dagster_event.asset_key.path[-1]: entry for entry in _materializations(logs)}
        found.update((stage, _fingerprint(made[stage])) for stage in built if stage in made)
    return found


def _materializations(logs) -> Iterator[dg.EventLogEntry]:
    for entry in logs:
        is_stage = entry.dagster_event and entry.dagster_event.is_step_materialization
        if is_stage and entry.dagster_event.asset_key.path[0] in STAGES:
            yield entry


def _fingerprint(entry: dg.EventLogEntry) -> str:
    return entry.asset_materialization.metadata["fingerprint"].value


def test_twenty_experiments_survive_the_death_of_daemon_and_runs_and_build_nothing_twice(started):
    for number in range(EXPERIMENTS):
        write_experiment(started, f"twenty{number:02}", number)
    backfill_id = start_backfill(started, "--where", "name = 'twenty'")
    half = wait_for(started, backfill_id, EXPERIMENTS // 2)
    assert half.counts["done"] < EXPERIMENTS
    started.cut_power("webserver")
    started.start_daemon()
    wait_for(started, backfill_id, EXPERIMENTS)

    folders = started.project.storage / "data"
    assert {stage: len(list((folders / stage).glob("[0-9a-f]*"))) for stage in WANTED} == WANTED
    with dg.DagsterInstance.from_config(str(started.project.folder / "home")) as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey("analysis"))) == EXPERIMENTS
        assert {run.tags["dagster/retry_strategy"] for run in instance.get_runs()} == {"ALL_STEPS"}
        counted = builds(instance)
    assert max(counted.values()) == 1
    # A run killed after a result was complete, and before it could say so, leaves one without a line.
    assert sum(WANTED.values()) - 2 <= len(counted) <= sum(WANTED.values())


def test_a_backfill_is_cancelled_resumed_and_its_failed_experiments_retried_alone(started):
    for number in range(10):
        write_experiment(started, f"ten{number}", number, target="nowhere" if number == 0 else "y")
    first = start_backfill(started, "--where", "experiment_id like 'ten%'")
    wait_for(started, first, 1, every_s=0.2)
    # Every stage takes this lock for reading, so from here on nothing can be finished before it is cancelled.
    with hold(started.project.storage / "locks" / "named", "gate", "write"):
        control(started, first, "--cancel")
        cancelled = wait_until_over(started, first)
    assert cancelled.status == "CANCELED"
    assert cancelled.counts["cancelled"] > 0

    second = control(started, first, "--resume").splitlines()[0]
    resumed = wait_for_all(started, second)
    assert set(cancelled.ids("done")).isdisjoint(each.experiment_id for each in resumed.experiments)
    assert {*cancelled.ids("done"), *resumed.ids("done")} == {f"ten{number}" for number in range(1, 10)}
    assert resumed.ids("failed") == ["ten0"]
    shown = control(started, second)
    assert "Column 'nowhere' does not exist. Choices: a, b, y." in shown
    assert "assay run ten0" in shown

    write_experiment(started, "ten0", 0)
    third = control(started, second, "--retry-failed").splitlines()[0]
    retried = wait_for_all(started, third)
    assert [(each.experiment_id, each.state) for each in retried.experiments] == [("ten0", "done")]
    assert [line.split()[0] for line in control(started, "--limit", "3").splitlines()[1:]] == [third, second, first]
