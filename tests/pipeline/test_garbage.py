"""Garbage collection: results that no experiment refers to are deleted on request, results in use are kept."""

import os
import time

import pytest

from assay.errors import IdError
from assay.experiments.garbage import collect_garbage, find_garbage
from assay.storage.locks.acquire import hold
from assay.storage.results import SCRATCH

pytestmark = pytest.mark.system  # each needs runs of its own


@pytest.fixture
def made(lab):
    """One experiment with its data."""
    lab.write("one")
    assert lab.run("one", job="job_data_generation").success
    assert find_garbage(lab.store.path, lab.store.specs) == []
    return lab


def test_a_removed_experiment_goes_with_its_results_and_its_id_is_never_used_again(made):
    made.write("two", seed=7)
    assert made.run("two", job="job_data_generation").success
    two = made.results("two")
    made.store.specs.path("one").unlink()
    garbage = find_garbage(made.store.path, made.store.specs)
    assert {item.experiment_id for item in garbage} == {"one", None}
    assert collect_garbage(made.store.path, made.store.specs, garbage) == []
    assert made.store.folders.find("one") is None
    assert not list(made.store.path.glob("tables/*/*/experiment_id=one"))
    assert made.results("two") == two
    assert all(result.folder.exists() for result in two.values())
    with pytest.raises(IdError, match="already used"):
        made.store.specs.create({"task": "regression"}, "one")


def test_a_result_of_a_former_spec_is_garbage_but_what_it_shares_is_not(made):
    made.write("one", tabular={"target_image_size": {"width": 5, "height": 5}})
    assert made.run("one", job="job_data_generation").success
    stages = [item.path.parent.name for item in find_garbage(made.store.path, made.store.specs)]
    assert stages == ["tabular", "normalized"]


def test_a_result_that_is_being_read_is_skipped(made):
    result = made.results("one")["crops"]
    made.store.specs.path("one").unlink()
    garbage = find_garbage(made.store.path, made.store.specs)
    with hold(made.store.path / "locks", f"crops/{result.fingerprint}", "read"):
        skipped = collect_garbage(made.store.path, made.store.specs, garbage)
    assert [item.path for item in skipped] == [result.folder]
    assert result.folder.exists()


def test_what_an_unfinished_build_left_is_garbage_when_nobody_continued_it_for_a_week(made):
    folder = made.store.path / "data" / "trained_model" / SCRATCH / "abc"
    folder.mkdir(parents=True)
    (folder / "checkpoint.safetensors").write_text("")
    assert find_garbage(made.store.path, made.store.specs) == []
    for path in (folder / "checkpoint.safetensors", folder):
        os.utime(path, (time.time() - 8 * 24 * 3600,) * 2)
    garbage = find_garbage(made.store.path, made.store.specs)
    assert [item.path for item in garbage] == [folder]
    assert collect_garbage(made.store.path, made.store.specs, garbage) == []
    assert not folder.exists()
