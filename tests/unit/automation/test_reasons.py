"""Why a run is started: texts that are short, printable and without secrets, whatever the data and specs are called."""

import os
from dataclasses import replace

import pytest

from assay.automation.reasons import LONGEST_TAG, as_tag, data_changes, shown_changes, upstream_reason
from assay.datasets.fingerprints import FileChanges, source_digest
from assay.experiments.folders import ExperimentFolders
from assay.pipeline import STAGES, stage_config
from assay.stages.generated_images import DIGEST_CACHE, content_digest
from assay.storage.files import write_json
from assay.storage.results import ResultStore


@pytest.fixture
def own(project, tmp_path):
    """An experiment on class folders of the user's that has run; its requests name their reasons."""
    for name in ("Textures/a.png", "Textures/b.png", "Plain/c.png"):
        place(project, tmp_path / "images" / name, b"1")
    save(project, tmp_path)
    run(project)
    return tmp_path / "images"


def place(project, path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    project.age(path, 40)


def save(project, folder, **keys):
    source = {"kind": "image_folder", "path": str(folder / "images")}
    project.save("own", task="classification", generated_images={"source": source}, **keys)


def run(project, name="own"):
    """Fulfil the only request, as its run would, which reads the data and records the spec; return its reasons."""
    plan = project.reconcile()
    (request,) = [each for each in plan.requests if each.experiment_id == name]
    part = stage_config(request.spec, name, "generated_images")
    project.finish(request, content_digest(part, project.specs.root))
    ExperimentFolders(project.specs.root).open(name, request.spec)
    return request.reasons


def test_changed_added_and_removed_files_are_named_once(project, own):
    place(project, own / "Plain/c.png", b"22")
    assert run(project) == ("changed: Plain/c.png",)
    place(project, own / "Plain/d.png", b"1")
    (own / "Textures/b.png").unlink()
    assert run(project) == ("added: Plain/d.png; removed: Textures/b.png",)
    assert project.reconcile().requests == []


def test_files_that_no_experiment_reads_are_no_reason(project, own):
    place(project, own / "notes.txt", b"1")
    assert project.reconcile().requests == []


def test_spec_and_data_are_both_reasons(project, own, tmp_path):
    place(project, own / "Plain/c.png", b"22")
    save(project, tmp_path, description="b")
    assert run(project) == ("changed: Plain/c.png", "spec: description: '' → b")


def test_an_experiment_that_is_compared_after_anothers_run_has_the_same_reason(project, own, tmp_path):
    source = {"kind": "image_folder", "path": str(own)}
    project.save("other", task="classification", seed=3, generated_images={"source": source})
    run(project, "other")
    place(project, own / "Plain/c.png", b"22")
    project.records.busy = {"other"}
    assert run(project) == ("changed: Plain/c.png",)
    project.records.busy = set()
    assert run(project, "other") == ("changed: Plain/c.png",)


def test_a_removed_table_is_named(project, tmp_path):
    place(project, tmp_path / "diabetes.csv", b"a,y\n1,2\n")
    table = {"kind": "table", "path": str(tmp_path / "diabetes.csv"), "target_column": "y"}
    project.save("own", generated_images={"source": table})
    run(project)
    (tmp_path / "diabetes.csv").unlink()
    (request,) = project.reconcile().requests
    assert request.reasons == ("removed: diabetes.csv",)


def test_another_code_version_is_named_with_the_former_one(project):
    project.settle("one")
    spec = project.specs.load("one")
    ExperimentFolders(project.specs.root).open("one", spec)
    made = project.records.versions["one"]
    made["crops"] = "c" * 24
    folder = project.specs.root / spec.crops.output_location / "crops" / made["crops"]
    manifest = {"stage": "crops", "fingerprint": made["crops"], "code_version": "0", "section": {}, "task": None}
    write_json(folder / "manifest.json", {**manifest, "inputs": {}, "ancestors": {}, "files": {}})
    assert ResultStore(project.specs.root).find("crops", made["crops"]) is not None
    project.state = replace(project.state, dirty={"one"}, asked={})
    (request,) = project.reconcile().requests
    assert request.reasons == (f"code: crops 0 to {STAGES['crops'].code_version}",)


def test_a_failed_run_that_is_tried_again_says_so(project):
    project.save("one")
    (request,) = project.reconcile().requests
    ExperimentFolders(project.specs.root).open("one", request.spec)
    project.records.versions["one"] = {"experiment": "of the run that failed"}
    (request,) = project.reconcile(code="2").requests
    assert request.reasons[0] == "tried again, because its data or the code changed"


def test_a_value_that_is_hidden_is_not_shown(project):
    project.save("one", remove_key_list=["description"])
    (request,) = project.reconcile().requests
    project.finish(request)
    ExperimentFolders(project.specs.root).open("one", request.spec)
    project.save("one", remove_key_list=["description"], description="private")
    (request,) = project.reconcile().requests
    assert request.reasons == ("spec: a value that is not shown",)


def test_names_of_files_are_shortened_counted_and_printable():
    names = (*(f"{number}.png" for number in range(5000)), "x" * 300 + "end.png")
    assert shown_changes(FileChanges(added=names)) == "added: 0.png, 1.png, 2.png and 4,998 more"
    assert shown_changes(FileChanges(changed=(names[-1],))) == f"changed: …{'x' * 53}end.png"
    hostile = "a\n\x1b[2Jb\u202e.png"
    assert shown_changes(FileChanges(removed=(hostile,))) == "removed: a\\n\\x1b[2Jb\\u202e.png"


def test_a_tag_is_one_short_line_without_secrets(monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", "swordfish-1234")
    tag = as_tag(["spec: description: swordfish-1234", "b\nc", "d", "e", "f"])
    assert tag == "spec: description: ***; b\\nc; d; and 2 more"
    assert len(as_tag(["y" * 5000])) == LONGEST_TAG


def test_inputs_are_named_without_their_versions():
    assert upstream_reason(["normalized v2", "normalized v2, splits s2"]) == "upstream: normalized, splits"


def test_a_name_that_is_no_utf_8_is_shown_with_escapes(project, own):
    place(project, own / os.fsdecode(b"Plain/\xff.png"), b"1")
    assert run(project) == ("added: Plain/\\udcff.png",)


def test_nothing_is_said_of_data_that_were_never_read(project, tmp_path):
    place(project, tmp_path / "images" / "a" / "b.png", b"1")
    save(project, tmp_path)
    section = project.specs.load("own").generated_images
    assert data_changes(section, project.specs.root) == ""
    source_digest(section.source, project.specs.root / DIGEST_CACHE)
    assert data_changes(section, project.specs.root) == ""
