"""What a run asks of a cluster, and what becomes of runs whose cluster is away, forgets them, or never starts them."""

import json
import re
import shutil
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from assay.errors import StorageError
from assay.experiments.last_run import PARTITION_TAG
from resources.instance.cluster_runs import SUBMITTED_TAG, ClusterRuns, RunNeeds, TryLaunchLaterError, needs_of
from resources.instance.run_process import RunFiles
from tests.helpers.http_answers import address_of, served_by
from tests.helpers.imports import ROOT

SPEC = "task: regression\nname: x\ntrained_model: {{train_params: {{{params}}}}}\n"


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Give ``write(params)``, which writes the experiment ``one`` with these ``train_params``."""
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path))
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    return lambda params: (tmp_path / "one.yaml").write_text(SPEC.format(params=params))


@dg.op
def nothing():
    pass


def job_of(name):
    return dg.GraphDefinition(name=name, node_defs=[nothing]).to_job()


def run_of(instance, job="job_experiment", status=dg.DagsterRunStatus.STARTING, **tags):
    return instance.create_run_for_job(
        job_of(job), status=status, tags={PARTITION_TAG: "one", **{key.replace("__", "/"): tags[key] for key in tags}}
    )


class Answering(RunLauncher):
    """A cluster that answers what a test wants."""

    def __init__(self):
        super().__init__()
        self.launched = []
        self.terminated = []
        self.answer = CheckRunHealthResult(WorkerStatus.RUNNING)

    def launch_run(self, context):
        self.during_launch()
        self.launched.append(context.dagster_run)

    def during_launch(self):
        """Do what a test wants to happen at this moment."""

    def terminate(self, run_id):
        self.terminated.append(run_id)
        return True

    def check_run_worker_health(self, run):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Launcher(ClusterRuns, Answering):
    config_tag = "some/config"
    gone = re.compile("404")

    def configured_run(self, run, needs, own):
        return {"cpus": needs.cpus, **own}


@pytest.fixture
def launcher(instance):
    launcher = Launcher()
    launcher.register_instance(instance)
    yield launcher
    launcher.dispose()


@pytest.mark.parametrize(
    ("params", "job", "gpu_for_auto", "expected"),
    [
        ("threads: 3", "job_experiment", False, RunNeeds(3)),
        ("threads: 3, processes: 2", "job_train", False, RunNeeds(6)),
        ("threads: 1, device: cuda, processes: 2, memory_gb: 1.5", "job_eval", False, RunNeeds(2, 2, 1_500_000_000)),
        ("threads: 1, device: auto", "job_experiment", True, RunNeeds(1, 1)),
        ("threads: 1, device: cpu", "job_experiment", True, RunNeeds(1)),
        ("threads: 3, device: cuda, memory_gb: 2", "job_data_generation", True, RunNeeds(1, 0, 2_000_000_000)),
        ("threads: none", "job_experiment", False, RunNeeds(1)),
    ],
)
def test_a_run_needs_what_the_training_of_its_experiment_asks_for(instance, write, params, job, gpu_for_auto, expected):
    write(params)
    assert needs_of(run_of(instance, job), gpu_for_auto) == expected


def test_a_run_of_chosen_assets_trains_if_the_model_is_among_them(instance, write):
    write("threads: 3")

    @dg.asset
    def splits():
        pass

    @dg.asset
    def trained_model():
        pass

    job = dg.Definitions([splits, trained_model], jobs=[dg.define_asset_job("job_experiment")]).resolve_job_def(
        "job_experiment"
    )
    for name, cpus in (("splits", 1), ("trained_model", 3)):
        chosen = frozenset({dg.AssetKey(name)})
        subset = job.get_subset(asset_selection=chosen)
        run = instance.create_run_for_job(subset, asset_selection=chosen, tags={PARTITION_TAG: "one"})
        assert needs_of(run) == RunNeeds(cpus)


def test_a_run_without_an_experiment_needs_one_core(instance):
    for name in ("../etc", ""):
        run = instance.create_run_for_job(job_of("job_champion"), tags={PARTITION_TAG: name} if name else {})
        assert needs_of(run) == RunNeeds()


def test_a_run_is_submitted_with_what_it_needs_and_its_own_tag_goes_first(instance, write, launcher):
    write("threads: 5")
    run = run_of(instance)
    launcher.launch_run(LaunchRunContext(run, None))
    assert json.loads(launcher.launched[0].tags["some/config"]) == {"cpus": 5}
    recorded = instance.get_run_by_id(run.run_id)
    assert recorded.tags[SUBMITTED_TAG] == run.run_id
    assert "some/config" not in recorded.tags, "a retry would copy it"
    chosen = run_of(instance, some__config='{"cpus": 9, "fast": 1}')
    launcher.launch_run(LaunchRunContext(chosen, None))
    assert json.loads(launcher.launched[1].tags["some/config"]) == {"cpus": 9, "fast": 1}


def test_a_run_whose_storage_is_in_a_bucket_is_refused(instance, write, launcher, monkeypatch):
    write("threads: 1")
    monkeypatch.setenv("ASSAY_STORAGE", "s3://bucket/team")
    with pytest.raises(
        StorageError, match=r"can't use a storage in a bucket yet .* Name a folder that all nodes mount"
    ):
        launcher.launch_run(LaunchRunContext(run_of(instance), None))
    assert launcher.launched == []


@pytest.mark.parametrize("text", ["7", "[1]", "{"])
def test_a_tag_that_is_no_object_is_refused(instance, write, launcher, text):
    with pytest.raises(dg.DagsterInvariantViolationError, match=r"Tag 'some/config' of run .* expected a JSON object"):
        launcher.launch_run(LaunchRunContext(run_of(instance, some__config=text), None))
    assert launcher.launched == []


def submitted(instance, status=dg.DagsterRunStatus.STARTED):
    run = run_of(instance, status=status)
    instance.add_run_tags(run.run_id, {SUBMITTED_TAG: run.run_id})
    return instance.get_run_by_id(run.run_id)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (ConnectionError("refused"), WorkerStatus.RUNNING),
        (CheckRunHealthResult(WorkerStatus.UNKNOWN, "status code 500"), WorkerStatus.RUNNING),
        (CheckRunHealthResult(WorkerStatus.UNKNOWN, "status code 404"), WorkerStatus.FAILED),
        (CheckRunHealthResult(WorkerStatus.FAILED, "killed"), WorkerStatus.FAILED),
        (CheckRunHealthResult(WorkerStatus.RUNNING), WorkerStatus.RUNNING),
    ],
)
def test_a_cluster_that_does_not_answer_fails_no_run_and_one_that_forgot_it_does(instance, launcher, answer, status):
    launcher.answer = answer
    assert launcher.check_run_worker_health(submitted(instance)).status is status


def test_a_run_of_this_machine_is_not_asked_for_on_the_cluster(instance, launcher):
    launcher.answer = CheckRunHealthResult(WorkerStatus.UNKNOWN, "404")
    copied = run_of(instance, status=dg.DagsterRunStatus.STARTED, assay__submitted="the run that it repeats")
    with RunFiles.of(instance, copied.run_id).held():
        assert launcher.check_run_worker_health(copied).status is WorkerStatus.RUNNING
    launcher.terminate(copied.run_id)
    on_cluster = submitted(instance)
    assert launcher.terminate(on_cluster.run_id)
    assert launcher.terminated == [on_cluster.run_id]
    assert not launcher.terminate("no such run")


@pytest.mark.parametrize("how", [WorkerStatus.FAILED, WorkerStatus.SUCCESS])
def test_a_job_that_ends_before_its_run_begins_fails_the_run_with_the_reason(instance, launcher, how):
    waiting, begun = submitted(instance, dg.DagsterRunStatus.STARTING), submitted(instance)
    elsewhere = run_of(instance)
    launcher.answer = CheckRunHealthResult(WorkerStatus.RUNNING)
    assert launcher.fail_what_never_starts() == []
    launcher.answer = CheckRunHealthResult(how, "sh: 1: dagster: not found\nexit code 127")
    assert waiting.run_id in launcher.fail_what_never_starts()
    assert instance.get_run_by_id(waiting.run_id).status is dg.DagsterRunStatus.FAILURE
    (event,) = instance.all_logs(waiting.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert event.get_dagster_event().message == "It never began: sh: 1: dagster: not found exit code 127"
    for other in (begun, elsewhere):
        assert not instance.get_run_by_id(other.run_id).is_finished
    assert launcher.fail_what_never_starts() == []


def test_a_run_that_is_being_submitted_is_not_taken_for_one_that_the_cluster_forgot(instance, write, launcher):
    write("threads: 1")
    launcher.answer = CheckRunHealthResult(WorkerStatus.UNKNOWN, "404")
    looks = []
    launcher.during_launch = lambda: looks.extend([launcher.fail_what_never_starts() for _ in range(3)])
    run = run_of(instance)
    launcher.launch_run(LaunchRunContext(run, None))
    launcher.dispose()
    assert [run.run_id for failed in looks if run.run_id in failed] == []
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTING
    launcher.fail_what_never_starts()
    launcher.fail_what_never_starts()
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_run_that_the_cluster_does_not_know_is_failed_at_the_second_look(instance, launcher):
    waiting = submitted(instance, dg.DagsterRunStatus.STARTING)
    launcher.answer = CheckRunHealthResult(WorkerStatus.UNKNOWN, "404")
    assert waiting.run_id not in launcher.fail_what_never_starts()
    launcher.answer = CheckRunHealthResult(WorkerStatus.RUNNING)
    assert launcher.fail_what_never_starts() == []
    launcher.answer = CheckRunHealthResult(WorkerStatus.UNKNOWN, "404")
    assert waiting.run_id not in launcher.fail_what_never_starts(), "it was known in between"
    assert waiting.run_id in launcher.fail_what_never_starts()


@pytest.mark.system
@pytest.mark.parametrize(("status", "submissions"), [("RUNNING", 1), ("PENDING", 1), ("FAILED", 2)])
def test_a_job_whose_submission_was_answered_in_vain_is_the_runs_own(instance, write, status, submissions):
    """The job server answers as Ray's does, to a run that was put into the queue again after an answer was lost."""
    pytest.importorskip("dagster_ray", reason="the extra scale is not installed")
    pytest.importorskip("ray", reason="the extra scale is not installed")
    from resources.instance.ray_launcher import RayLauncher

    write("threads: 1")
    run = launchable(instance)
    job = f"dagster-run-{run.run_id}"
    taken = f"ValueError: Job with submission_id {job} already exists. Please use a different submission_id."
    jobs, posted = {job}, []

    def answer(method, path):
        if path == "/api/version":
            return 200, {"ray_version": "2.60.0"}
        if method == "DELETE":
            jobs.clear()
            return 200, {"deleted": True}
        if method == "POST":
            posted.append(path)
            return (400, taken) if jobs else (200, {"job_id": job, "submission_id": job})
        return 200, {"type": "SUBMISSION", "status": status, "entrypoint": "dagster", "submission_id": job}

    with answering(answer) as url:
        launcher = RayLauncher.from_config_value(None, {"ray": {"address": url}, "gpu_for_auto": False})
        launcher.register_instance(instance)
        launcher.launch_run(LaunchRunContext(run, None))
        launcher.dispose()
    assert len(posted) == submissions
    assert not instance.get_run_by_id(run.run_id).is_finished


@contextmanager
def answering(answer):
    """Give the address of a server that answers ``answer(method, path)``: a status, and JSON or a text."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = answer(self.command, self.path)
            content = (found if isinstance(found, str) else json.dumps(found)).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815 - so http.server calls them

        def log_message(self, *_):
            pass

    with served_by(Handler) as server:
        yield address_of(server)


def launchable(instance):
    repository = RepositoryPythonOrigin("python", ModuleCodePointer("definitions", "defs"), None, ["dagster"])
    return instance.create_run_for_job(
        job_of("job_experiment"),
        status=dg.DagsterRunStatus.STARTING,
        tags={PARTITION_TAG: "one"},
        job_code_origin=JobPythonOrigin("job_experiment", repository),
    )


@pytest.mark.system
def test_without_an_answer_of_ray_a_run_goes_back_into_the_queue_and_none_at_work_fails(instance, write):
    pytest.importorskip("dagster_ray", reason="the extra scale is not installed")
    pytest.importorskip("ray", reason="the extra scale is not installed")
    from resources.instance.ray_launcher import RayLauncher

    write("threads: 1")
    run = launchable(instance)
    config = {"ray": {"address": "http://127.0.0.1:1"}, "gpu_for_auto": False}
    launcher = RayLauncher.from_config_value(None, config)
    launcher.register_instance(instance)
    with pytest.raises(TryLaunchLaterError, match=r"Ray does not answer at http://127.0.0.1:1: "):
        launcher.launch_run(LaunchRunContext(run, None))
    assert launcher.check_run_worker_health(submitted(instance)).status is WorkerStatus.RUNNING
    assert launcher.get_run_worker_debug_info(run) is None
    launcher.dispose()
