"""Forgetting one experiment: everything that is its own goes, what others share stays."""

import pytest

from assay.errors import StorageError
from assay.experiments.contents import stage_results
from assay.experiments.garbage import forget_experiment
from assay.storage.locks.acquire import hold


@pytest.mark.parametrize("is_removed", [False, True])
@pytest.mark.system
def test_a_forgotten_experiment_is_gone_and_its_id_is_free_but_shared_results_stay(lab, is_removed):
    lab.run("three", "1")  # shares everything with one
    kept = {name: stage_results(lab.root, name) for name in ("two", "three")}
    if is_removed:
        lab.spec("one").unlink()
        lab.collect()
    assert forget_experiment(lab.root, lab.specs, "one")
    assert "one" not in lab.specs.used_ids()
    assert not [path for path in lab.root.rglob("*") if "id_one" in path.name or "experiment_id=one" in path.name]
    assert {name: stage_results(lab.root, name) for name in ("two", "three")} == kept
    assert lab.find() == []
    lab.run("one", "1")
    assert not forget_experiment(lab.root, lab.specs, "never")


def test_an_experiment_that_is_at_work_is_not_forgotten(lab):
    with hold(lab.root / "locks", "experiments/one", "write", "testing"), pytest.raises(StorageError):
        forget_experiment(lab.root, lab.specs, "one")
    assert lab.spec("one").exists()
    assert lab.find() == []
