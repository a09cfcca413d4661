"""The profile shared on a real PostgreSQL: queue, daemon, a backfill, reasons of failures, a database that goes away.

One database and one set of Dagster's processes for the file.
"""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import dagster as dg
import pytest

from assay.backfills.backfill import STATES, load_backfill
from assay.backfills.dagster_server import DagsterServer
from assay.experiments.last_run import FAILURE_TAG, STAGE_TAG, is_recorded, last_run
from assay.experiments.profiles import DATABASE_VARIABLE, profile_text
from assay.experiments.search_space import read_space
from assay.experiments.specs import SpecFiles
from assay.experiments.studies import Study, StudyPlan
from tests.helpers.databases import PASSWORD, Postgres, postgres
from tests.helpers.projects import Project
from tests.helpers.servers import Servers, serve, wait_until

pytest.importorskip("dagster_postgres", reason="the extra scale is not installed")

pytestmark = pytest.mark.system

SPEC = """\
task: regression
name: three
generated_images:
  source: {{kind: table, path: {table}, target_column: {target}}}
trained_model:
  seed: {seed}
  train_params: {{epochs: 1, least_steps: 1}}
analysis:
  result_analyzer: {{bootstrap_samples: 20}}
exptests: {{tests: []}}
"""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATABASE_VARIABLE, server.url)
        yield server


@pytest.fixture(scope="module")
def project(database, tmp_path_factory) -> Project:
    """A project of three experiments, one of which can't be read, whose home has the profile shared."""
    project = Project(tmp_path_factory.mktemp("project"))
    code, output = project.assay("init", "--profile", "shared")
    assert code == 0, output
    draw = random.Random(0).random
    rows = [(draw(), draw()) for _ in range(60)]
    table = project.folder / "rows.csv"
    table.write_text("\n".join(["a,b,y", *(f"{a},{b},{2 * a + b}" for a, b in rows)]) + "\n")
    for seed, target in enumerate(("y", "y", "nowhere")):
        project.write(f"three{seed}", SPEC.format(table=table, target=target, seed=seed))
    return project


@pytest.fixture(scope="module")
def started(project, request) -> Iterator[Servers]:
    with serve(project, request) as servers:
        servers.start_webserver()
        servers.pause_automation()
        servers.start_daemon()
        yield servers


def doctor(project: Project) -> tuple[int, dict[str, list[str]]]:
    """Return the exit code of ``assay doctor`` and what it says of the home and its database, by level."""
    code, output = project.assay("doctor", "--json")
    assert "planted" not in output
    found = [each for each in json.loads(output) if each["area"] in ("home", "database")]
    return code, {level: [each["text"] for each in found if each["level"] == level] for level in ("ok", "problem")}


def runs_of(servers: Servers, experiment_id: str) -> list[dict]:
    query = """query($id: String!) { runsOrError(filter: {tags: [{key: "dagster/partition", value: $id}]}) {
      ... on Runs { results { status tags { key value } } } } }"""
    return servers.graphql(query, id=experiment_id)["runsOrError"]["results"]


def test_a_backfill_survives_a_restart_of_the_database_and_the_death_of_the_daemon_and_failures_say_why(
    database, project, started
):
    code, told = doctor(project)
    assert code == 0, told
    code, output = project.assay("backfill", "--where", "name = 'three'", "--url", started.url)
    assert code == 0, output
    backfill_id = output.splitlines()[0]
    server = DagsterServer(started.url)
    wait_until(lambda: runs_of(started, "three0"), "the daemon has made the first run")
    database.stop()
    database.start()
    wait_until(lambda: load_backfill(server, backfill_id).ids("done", "failed"), "the first one has run", 600)
    started.cut_power("webserver")
    started.start_daemon()

    def is_over():
        backfill = load_backfill(server, backfill_id)
        return backfill if backfill.ids("done", "failed") == backfill.ids(*STATES) else None

    over = wait_until(is_over, "all three have run", 600, every_s=1)
    assert (over.ids("done"), over.ids("failed")) == (["three0", "three1"], ["three2"])
    tags = {each["key"]: each["value"] for each in runs_of(started, "three2")[0]["tags"]}
    assert tags[STAGE_TAG] == "generated_images"
    assert "Column 'nowhere' does not exist. Choices: a, b, y." in tags[FAILURE_TAG]

    home = project.folder / "home"
    assert not list(home.rglob("*.db"))
    assert "planted" not in "".join(path.read_text() for path in home.glob("*.yaml"))
    code, told = doctor(project)
    assert code == 0, told
    assert any("has Dagster's tables" in each for each in told["ok"])


def test_a_terminal_finds_what_the_daemon_made(project, started):
    home = project.folder / "home"
    assert is_recorded(home, "three0")
    code, output = project.assay("run", "three0")
    assert code == 0, output
    assert output.startswith("three0 is finished: everything was found, nothing to do.")
    run = last_run(home, "three2")
    assert (run.status, run.stage) == ("failed", "generated_images")
    assert "Column 'nowhere' does not exist" in run.failure
    assert last_run(home, "three0").status == "done"
    project.write("three0", project.spec("three0").replace("bootstrap_samples: 20", "bootstrap_samples: 30"))
    code, output = project.assay("run", "three0")
    assert code == 0, output
    assert "analysis" in output


def test_a_study_is_kept_in_a_schema_of_its_own_beside_dagsters_tables(database, project, started):
    """Both count the versions of their tables in one of the same name."""
    space = read_space(["learning_rate=log:1e-4..1e-2"], {"task": "regression"}, "base.yaml", "searched")
    plan = StudyPlan("searched", space, "mae", False, "validation", "random")
    store, home = SpecFiles(project.folder / "experiments", project.storage), project.folder / "home"
    with Study(plan, store, home).next_trial(2) as trial:
        Study(plan, store, home).complete(trial, 0.5)
    assert [each.value for each in Study(plan, store, home).trials()] == [0.5]
    assert not list(project.folder.rglob("studies.db"))
    code, told = doctor(project)
    assert code == 0, told
    assert any("has Dagster's tables" in each for each in told["ok"])


def test_without_its_database_a_command_ends_with_one_sentence(database, project, monkeypatch):
    database.stop("fast")
    try:
        code, output = project.assay("run", "three1")
        assert code == 1
        assert output.count("\n") == 1, output
        assert output.startswith("error: Dagster's database can't be reached: connection to server at")
        assert PASSWORD not in output
        code, told = doctor(project)
        assert code == 1
        assert ["can't be reached" in each for each in told["problem"]] == [True]
    finally:
        database.start()
    monkeypatch.delenv(DATABASE_VARIABLE)
    code, output = project.assay("run", "three1")
    assert (code, output.count("\n")) == (1, 1), output
    assert f"takes the database from {DATABASE_VARIABLE}, which is not set. Next: export" in output


def test_a_pool_is_begun_by_many_at_once_and_follows_a_change_of_its_limit(database, tmp_path):
    together, settings = Barrier(8), profile_text("shared")

    def limits(text):
        (tmp_path / "dagster.yaml").write_text(text)
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance, ThreadPoolExecutor(8) as threads:

            def begin(name):
                together.wait(60)
                return instance.event_log_storage.initialize_concurrency_limit_to_default(name)

            for name in ("first", "second", "third"):
                assert list(threads.map(begin, [name] * 8)) == [True] * 8
            found = {each.name: each.limit for each in instance.event_log_storage.get_pool_limits()}
            slots = [instance.event_log_storage.get_concurrency_info(name).slot_count for name in ("first", "third")]
            return [found[name] for name in ("first", "second", "third")], slots

    assert limits(settings) == ([2, 2, 2], [2, 2])
    assert limits(settings.replace("default_limit: 2", "default_limit: 5")) == ([5, 5, 5], [5, 5])
    assert limits(settings.replace("default_limit: 2", "default_limit: 1")) == ([1, 1, 1], [1, 1])


def test_the_settings_are_those_of_the_profile(project):
    assert (project.folder / "home" / "dagster.yaml").read_text() == profile_text("shared")
