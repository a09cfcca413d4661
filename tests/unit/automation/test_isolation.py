"""One experiment that can't be used, or data without an end, never stop the look at all the others."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from assay.automation.reconcile import Reconciliation
from assay.automation.state import AutomationState, StateFiles, snapshot_source
from assay.automation.watch import UNLISTED, update_sources
from assay.datasets.inspection import walk_files, walking_until
from assay.errors import DataError
from assay.experiments.folders import ExperimentFolders
from assay.storage.files import write_text
from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.hostile_neighbours import KINDS, try_neighbour

SLOW = ("the whole disk", "all p", "all devices", "the kernel", "links that multiply", "1,500 folders")
QUICK = [
    *(seed for seed, kind in enumerate(KINDS) if kind[:4] != "file" and not any(word in kind for word in SLOW)),
    *(KINDS.index(f"file: {kind}") for kind in ("a pipe", "a link to itself", "100,000 brackets", "a list as a kind")),
]
"""Seeds of a part of the campaign; the system tests have all of it."""


@pytest.mark.system
def test_a_good_experiment_is_seen_beside_every_kind_of_hostile_one():
    outcomes = try_seeds(try_neighbour, QUICK)
    assert len(outcomes) > 20
    assert failures(outcomes) == []


def images(project, name, folder):
    source = {"kind": "image_folder", "path": str(folder)}
    project.save(name, task="classification", generated_images={"source": source})


@pytest.fixture
def endless(tmp_path):
    """A folder whose files can be reached in 2^40 ways."""
    for level in range(40):
        (tmp_path / f"l{level}").mkdir()
    for level in range(39):
        for name in ("a", "b"):
            (tmp_path / f"l{level}" / name).symlink_to(tmp_path / f"l{level + 1}")
    return tmp_path / "l0"


def test_data_without_an_end_are_told_and_looked_at_less_often(project, endless):
    images(project, "bad", endless)
    project.save("good")
    for number in range(2):
        reconciliation = Reconciliation(project.state, project.specs, project.records, pass_s=1.5)
        plan = reconciliation.reconcile("1")
        asked = sorted(request.experiment_id for request in plan.requests)
        assert asked == ([] if number else ["bad", "good"])
    (snapshot,) = project.state.sources.values()
    assert snapshot.signature == UNLISTED
    assert not snapshot.is_due(time.time())
    assert snapshot.is_due(time.time() + 60)


def test_what_was_not_listed_in_time_is_one_note(project, endless):
    images(project, "bad", endless)
    # the pass in which its data become known
    Reconciliation(project.state, project.specs, project.records, pass_s=0.3).reconcile("1")
    state = project.state
    state.sources.clear()
    (note,) = update_sources(state, time.time(), walk_s=0.0)
    assert note.startswith("bad: ")
    assert "took too long" in note
    assert update_sources(state, time.time(), walk_s=0.0) == []


def test_a_walk_ends_at_its_deadline_and_an_inner_limit_does_not_extend_it(endless):
    soon, later = walking_until(time.monotonic()), walking_until(time.monotonic() + 600)
    with soon, later, pytest.raises(DataError, match="took too long"):
        list(walk_files(endless))


@pytest.mark.system
def test_folders_deeper_than_the_stack_are_walked():
    root = Path(tempfile.mkdtemp())  # not pytest's own folder, which it removes by recursion
    path = root
    for _ in range(1200):
        path = path / "d"
        path.mkdir()
    (path / "a.png").write_bytes(b"")
    try:
        assert list(walk_files(root)) == ["d/" * 1200 + "a.png"]
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)


def test_a_link_to_nothing_among_the_data_does_not_hide_their_changes(tmp_path):
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "a.png").write_bytes(b"1")
    for path in (tmp_path / "a.png", tmp_path / "lost.png"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    first = snapshot_source(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"22")
    os.utime(tmp_path / "a.png", (1e9, 1e9))
    assert first is not None
    assert snapshot_source(str(tmp_path)).signature != first.signature


def test_a_damaged_record_of_one_experiment_is_its_problem(project):
    project.settle("one", "two")
    for name in ("one", "two"):
        project.save(name, seed=3)
    write_text(ExperimentFolders(project.specs.root).index / "one.json", "{")
    plan = project.reconcile()
    assert [request.experiment_id for request in plan.requests] == ["two"]
    assert "one" in plan.problems["one"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 3}', "\xff"])
def test_a_damaged_state_is_an_empty_one(tmp_path, content):
    states = StateFiles(tmp_path)
    name = states.store(AutomationState(code="1"))
    assert states.load(name).code == "1"
    (tmp_path / f"{name}.json").write_text(content, encoding="latin-1")
    assert states.load(name) == AutomationState()


def test_a_pass_without_time_still_makes_progress(project):
    for name in ("one", "two", "three"):
        project.save(name)
    asked = []
    for _ in range(4):
        reconciliation = Reconciliation(project.state, project.specs, project.records, pass_s=0.0)
        asked += [request.experiment_id for request in reconciliation.reconcile("1").requests]
    assert sorted(asked) == ["one", "three", "two"]
