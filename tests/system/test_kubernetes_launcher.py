"""The launcher of the profile kubernetes against a server that speaks Kubernetes' API; no cluster can be had here.

What the launcher creates is checked against Kubernetes' own schemas; that a cluster runs it is not shown.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus
from dagster._core.origin import DEFAULT_DAGSTER_ENTRY_POINT, JobPythonOrigin, RepositoryPythonOrigin

from assay.experiments.last_run import PARTITION_TAG
from assay.experiments.profiles import profile_text
from assay.spec.yaml_text import read_mapping
from tests.helpers.http_answers import address_of, served_by
from tests.helpers.imports import ROOT

pytest.importorskip("dagster_k8s", reason="the extra scale is not installed")
kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the extra dev is not installed")

pytestmark = pytest.mark.system

SPEC = """\
task: regression
name: x
trained_model: {train_params: {threads: 3, processes: 2, device: cuda, memory_gb: 4}}
"""


@dataclass
class ApiServer:
    """Jobs by name, as they were posted; their status is what a test says."""

    jobs: dict[str, dict] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    status: dict = field(default_factory=lambda: {"active": 1})
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return address_of(self.server)

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        parts = path.partition("?")[0].strip("/").split("/")
        if "pods" in parts:
            return 200, {"kind": "PodList", "apiVersion": "v1", "items": []}
        if method == "POST" and body["metadata"]["name"] in self.jobs:
            return 409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"}
        if method == "POST":
            self.jobs[body["metadata"]["name"]] = body
            return 201, body
        name = parts[parts.index("jobs") + 1]
        if name not in self.jobs:
            return 404, {"kind": "Status", "code": 404}
        if method == "DELETE":
            self.deleted.append(name)
        return 200, {**self.jobs[name], "status": self.status}


@pytest.fixture
def api() -> Iterator[ApiServer]:
    api = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, answer = api.answer(self.command, self.path, json.loads(text or b"{}"))
            content = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815 - so http.server calls them

        def log_message(self, *_):
            pass

    with served_by(Handler) as api.server:
        yield api


@pytest.fixture
def instance(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(ROOT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture
def launcher(api, instance, tmp_path, monkeypatch):
    """The launcher as the profile sets it up, but that it finds the API server in a file as ``kubectl`` does."""
    from resources.instance.kubernetes_launcher import KubernetesLauncher

    monkeypatch.setenv("ASSAY_IMAGE", "registry/assay:1")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": api.url}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    settings = read_mapping(profile_text("kubernetes"), "kubernetes")["run_launcher"]["config"]
    settings |= {"load_incluster_config": False, "kubeconfig_file": str(tmp_path / "kubeconfig")}
    checked = process_config(KubernetesLauncher.config_type(), settings)
    assert checked.success, checked.errors
    launcher = KubernetesLauncher.from_config_value(None, checked.value)
    launcher.register_instance(instance)
    yield launcher
    launcher.dispose()


@pytest.fixture
def run(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path))
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    (tmp_path / "one.yaml").write_text(SPEC)

    @dg.job
    def job_experiment():
        dg.OpDefinition(lambda: None, name="nothing", ins={})()

    origin = JobPythonOrigin(
        "job_experiment",
        RepositoryPythonOrigin("python", ModuleCodePointer("definitions", "defs"), None, DEFAULT_DAGSTER_ENTRY_POINT),
    )
    return instance.create_run_for_job(
        job_experiment,
        status=dg.DagsterRunStatus.STARTING,
        tags={PARTITION_TAG: "one"},
        job_code_origin=origin,
    )


def test_a_run_is_a_valid_job_with_what_its_training_asks_for(api, launcher, run, instance):
    launcher.launch_run(LaunchRunContext(run, None))
    ((name, job),) = api.jobs.items()
    kubernetes_validate.validate(job, "1.33", strict=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    memory, gpus = {"memory": "4000000000"}, {"nvidia.com/gpu": "2"}
    assert container["resources"] == {"requests": {"cpu": "6", **memory, **gpus}, "limits": {**memory, **gpus}}
    assert container["image"] == "registry/assay:1"
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert {"secretRef": {"name": "assay-database"}} in container["envFrom"]
    assert {"name": "ASSAY_STORAGE", "value": "/work/storage"} in container["env"]
    assert {"name": "work", "mountPath": "/work"} in container["volumeMounts"]
    assert job["spec"]["backoffLimit"] == 0, "Dagster retries, and tells why"
    begun = instance.get_run_by_id(run.run_id)
    assert launcher.check_run_worker_health(begun).status is WorkerStatus.RUNNING
    assert launcher.terminate(run.run_id)
    assert api.deleted == [name]


def test_a_job_whose_creation_was_answered_in_vain_is_the_runs_own(api, launcher, run, instance):
    for _ in range(2):
        launcher.launch_run(LaunchRunContext(run, None))
    assert len(api.jobs) == 1
    assert not instance.get_run_by_id(run.run_id).is_finished


def test_what_a_tag_says_of_resources_goes_first(api, launcher, run, instance):
    chosen = {"container_config": {"resources": {"requests": {"cpu": "1"}}}, "pod_spec_config": {"nodeName": "n"}}
    tagged = run.with_tags({**run.tags, "dagster-k8s/config": json.dumps(chosen)})
    launcher.launch_run(LaunchRunContext(tagged, None))
    (job,) = api.jobs.values()
    spec = job["spec"]["template"]["spec"]
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "1"}}
    assert spec["nodeName"] == "n"


def test_a_pod_that_dies_before_its_run_begins_fails_the_run_and_an_api_that_is_away_fails_none(
    api, launcher, run, instance
):
    launcher.launch_run(LaunchRunContext(run, None))
    launcher.dispose()  # or its own looks might fail the run first
    api.status = {"failed": 1}
    assert launcher.fail_what_never_starts() == [run.run_id]
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    started = instance.get_run_by_id(run.run_id)
    api.jobs.clear()
    assert launcher.check_run_worker_health(started).status is WorkerStatus.FAILED
    api.server.server_close()
    api.server.shutdown()
    assert launcher.check_run_worker_health(started).status is WorkerStatus.RUNNING
