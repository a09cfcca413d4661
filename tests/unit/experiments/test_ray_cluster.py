"""What `assay doctor` says of the nodes of a Ray cluster, and of one that does not answer."""

import json
import time

import pytest

from assay.errors import StorageError, UnreachableError
from assay.experiments.profiles import DATABASE_VARIABLE, RAY_VARIABLE, profile_text
from assay.experiments.ray_cluster import check_ray, look_at_node, wrong_nodes
from assay.spec.yaml_text import read_mapping

HERE = {
    "python": "3.11.7",
    "ray": "2.60.0",
    "assay": "0.1.0",
    "code": "aaaa",
    "dagster": "/venv/bin/dagster",
    "missing": [],
    "storage": True,
    "variable": True,
    "database": "",
}


def node(name, **other):
    return {**HERE, "name": name, "cpus": 1, "gpus": 0, "skew": 0.0, **other}


def test_nodes_that_are_alike_have_nothing_wrong():
    assert list(wrong_nodes([node("a"), node("b", cpus=0)], HERE)) == []


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        (
            [node("a"), node("b", assay="0.2.0")],
            "Assay differs, and so may results: 0.1.0 (code aaaa) on this machine, a; 0.2.0 (code aaaa) on b. Install",
        ),
        ([node("a", code="bbbb")], "0.1.0 (code aaaa) on this machine; 0.1.0 (code bbbb) on a."),
        ([node("a", assay=None)], "0.1.0 (code aaaa) on this machine; none on a."),
        ([node("a", python="3.12.1")], "Python differs, and so may results: 3.11.7 on this machine; 3.12.1 on a."),
        ([node("a", ray="2.61.0")], "Ray differs"),
        ([node("a", dagster=None), node("b", dagster=None)], "The command 'dagster' is not on the PATH of a, b."),
        ([node("a"), node("b", storage=False)], "storage is another folder on b. Mount the same one at this path"),
        ([node("a", missing=["/x"])], "/x can't be written on a. Mount the same folder at this path."),
        ([node("a", variable=False)], f"{DATABASE_VARIABLE} is not set on a. Export it there before: ray start"),
        ([node("a", database="refused")], "The database can't be reached from a: refused. Let it listen"),
        ([node("a", skew=301.0)], "The clock of a differs from that of the head."),
        ([node("a", cpus=0)], "No node has cores to work with"),
    ],
)
def test_what_is_wrong_with_nodes_is_one_sentence_that_names_them(nodes, told):
    (found,) = wrong_nodes(nodes, HERE)
    assert told in found


@pytest.fixture
def question(tmp_path):
    (tmp_path / "token").write_text("secret")
    return {
        "folders": {"ASSAY_EXPERIMENTS": str(tmp_path)},
        "token": str(tmp_path / "token"),
        "secret": "secret",
        "database": None,
        "variable": DATABASE_VARIABLE,
        "packages": ["assay", "definitions"],
    }


def test_a_machine_tells_what_it_has(question, tmp_path, monkeypatch):
    found = look_at_node(json.loads(json.dumps(question)))
    assert abs(found["time"] - time.time()) < 60
    assert (found["storage"], found["missing"], found["variable"], found["database"]) == (True, [], True, "")
    assert (found["assay"], len(found["code"])) == ("0.1.0", 8)
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    other = {**question, "secret": "another", "database": ["127.0.0.1", 1], "packages": ["assay"]}
    other["folders"] = {"ASSAY_EXPERIMENTS": str(tmp_path / "nowhere")}
    found_there = look_at_node(other)
    assert found_there["storage"] is found_there["variable"] is False
    assert found_there["missing"] == [str(tmp_path / "nowhere")]
    assert "refused" in found_there["database"]
    assert found_there["code"] != found["code"]


@pytest.mark.system
def test_without_a_cluster_it_is_one_sentence_and_the_storage_is_left_as_it_was(tmp_path, monkeypatch):
    pytest.importorskip("dagster_ray", reason="the extra scale is not installed")
    pytest.importorskip("ray", reason="the extra scale is not installed")
    settings = read_mapping(profile_text("ray"), "ray")
    monkeypatch.delenv(RAY_VARIABLE, raising=False)
    with pytest.raises(StorageError, match="is not set"):
        list(check_ray(settings, tmp_path / "storage"))
    monkeypatch.setenv(RAY_VARIABLE, "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match=r"^No Ray cluster answers at http://127.0.0.1:1: .* ray start --head"):
        list(check_ray(settings, tmp_path / "storage"))
    assert not (tmp_path / "storage").exists()
    assert list(check_ray(read_mapping(profile_text("shared"), "shared"), tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
