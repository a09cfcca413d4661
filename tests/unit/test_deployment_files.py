"""Files by which Assay is deployed: valid by the schemas of what reads them, and true of this code. Nothing is started.

What Docker and Kubernetes would say beyond their schemas is not known here: neither can run where the tests do.
"""

import json
import re
import subprocess
import tomllib
from functools import cache
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft202012Validator

from assay.experiments.profiles import DATABASE_VARIABLE, RAY_VARIABLE, profile_text
from assay.experiments.workspace import EXPERIMENTS_VARIABLE, HOME_VARIABLE, LOCATIONS_VARIABLE, STORAGE_VARIABLE
from assay.spec.yaml_text import read_mapping
from tests.helpers.imports import ROOT
from tests.helpers.projects import BIN

MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.33"
"""Version whose schemas the manifests are checked against."""

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = COMPOSE["services"]


@cache
def every_document():
    return [(path.name, each) for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def pods():
    """Return the pod specs in all manifests, those of KubeRay's own kind among them, by a name for the test."""
    found = {}
    for name, each in every_document():
        spec = each.get("spec", {})
        groups = [spec, spec.get("headGroupSpec", {}), *spec.get("workerGroupSpecs", ())]
        templates = [group["template"] for group in groups if "template" in group]
        for number, template in enumerate(templates):
            found[f"{name}:{each['metadata']['name']}:{number}"] = template["spec"]
    return found


def problems_of_manifest(manifest):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the extra dev is not installed")
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


def test_the_compose_file_is_valid_by_the_schema_of_compose():
    pytest.importorskip("check_jsonschema", reason="the extra dev is not installed")
    schema = json.loads(
        (files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text(encoding="utf-8")
    )
    assert [error.message for error in Draft202012Validator(schema).iter_errors(COMPOSE)] == []
    wrong = {**COMPOSE, "services": {**SERVICES, "web": {**SERVICES["web"], "prots": []}}}
    assert list(Draft202012Validator(schema).iter_errors(wrong))


def test_containers_are_published_on_loopback_only():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:3000:3000"]}


def test_services_wait_for_services_that_exist_and_volumes_exist():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        named = {place.partition(":")[0] for place in service.get("volumes", ()) if not place.startswith(".")}
        assert named <= set(COMPOSE["volumes"]), name
        for other, wait in service.get("depends_on", {}).items():
            assert "healthcheck" in SERVICES[other] or wait["condition"] == "service_completed_successfully"


def test_the_compose_file_sets_what_the_profile_ray_reads():
    named = set(re.findall(r"env: (\w+)", profile_text("ray")))
    assert named == {DATABASE_VARIABLE, RAY_VARIABLE}
    for name in ("ray-head", "ray-worker", "daemon", "web"):
        assert named <= SERVICES[name]["environment"].keys(), name
    assert SERVICES["init"]["command"][-1] == "ray"


def test_no_password_is_in_a_file():
    text = "".join(path.read_text() for path in (*MANIFESTS, ROOT / "docker-compose.yaml", ROOT / "dagster_cloud.yaml"))
    assert {"Secret"}.isdisjoint(each["kind"] for _, each in every_document())
    assert set(re.findall(r"postgresql\S*://\w+:(.{2})", text)) == {"${"}


def test_the_image_is_built_as_its_linter_wants_and_finds_the_project_where_the_profiles_look():
    text = (ROOT / "Dockerfile").read_text()
    for name, place in {
        HOME_VARIABLE: "/work/.dagster_home",
        STORAGE_VARIABLE: "/work/storage",
        EXPERIMENTS_VARIABLE: "/work/experiments",
        LOCATIONS_VARIABLE: "/work/locations.yaml",
    }.items():
        assert f"{name}={place}" in text
    extras = set(re.search(r"\$\{wheel\}\[([\w,]+)\]", text)[1].split(","))
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras <= set(known)
    hadolint = BIN / "hadolint"
    if not hadolint.exists():
        pytest.skip("the extra dev is not installed")
    linted = subprocess.run([str(hadolint), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert linted.stdout + linted.stderr == ""


@pytest.mark.parametrize(("file", "manifest"), every_document(), ids=lambda each: str(each)[:40])
def test_manifests_are_valid_by_the_schemas_of_kubernetes(file, manifest):
    if manifest["apiVersion"] == "ray.io/v1":  # KubeRay's own kind, whose pods are checked below
        assert manifest["kind"] == "RayCluster"
    else:
        assert problems_of_manifest(manifest) == []
    assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "assay"


@pytest.mark.parametrize("name", pods())
def test_pods_are_valid_run_as_nobody_special_and_mount_what_exists(name):
    spec = pods()[name]
    assert problems_of_manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}) == []
    volumes = {each["name"] for each in spec.get("volumes", ())}
    for container in spec["containers"]:
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted <= volumes | {"data"}
        if "assay" in container["image"]:
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert {"name": "work", "mountPath": "/work"} in container["volumeMounts"]


def test_a_wrong_manifest_would_be_found():
    (manifest,) = [each for _, each in every_document() if each["metadata"]["name"] == "daemon"]
    assert problems_of_manifest({**manifest, "spec": {**manifest["spec"], "replicas": "one"}})


def test_the_profile_kubernetes_names_what_the_manifests_make():
    config = read_mapping(profile_text("kubernetes"), "kubernetes")["run_launcher"]["config"]
    made = {(each["kind"], each["metadata"]["name"]) for _, each in every_document()}
    claim = config["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert {("ServiceAccount", config["service_account_name"]), ("PersistentVolumeClaim", claim)} <= made
    assert ("Namespace", config["job_namespace"]) in made
    text = "".join(path.read_text() for path in MANIFESTS)
    assert f"configMap: {{name: {config['instance_config_map']}}}" in text
    assert all(f"secretRef: {{name: {name}}}" in text for name in config["env_secrets"])
    role = next(each for _, each in every_document() if each["kind"] == "Role")
    allowed = {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    assert {
        ("jobs", "create"),
        ("jobs", "delete"),
        ("jobs/status", "get"),
        ("pods", "list"),
        ("pods/log", "get"),
    } <= allowed


def test_ray_is_the_version_of_the_image():
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    (cluster,) = [each for _, each in every_document() if each["kind"] == "RayCluster"]
    assert cluster["spec"]["rayVersion"] == pinned
