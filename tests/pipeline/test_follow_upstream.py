"""The condition that follows what was made by hand, evaluated by Dagster on recorded materializations."""

import dagster as dg
import pytest

from benchmarks.automation import Scene
from definitions import build_defs
from resources.defaults import resources_for

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore::dagster.BetaWarning")]

BEHIND_SPLITS = {"crops", "tabular", "normalized", "trained_model", "predictions", "analysis"}


class Following:
    """Two experiments that are up to date, and the evaluations of the condition."""

    def __init__(self, folder, instance):
        self.instance = instance
        self.scene = Scene(folder, instance, 2)
        self.definitions = build_defs(resources_for(self.scene.store))
        self.cursor = None

    def evaluate(self, definitions=None):
        """Return the assets that are requested, by experiment."""
        found = dg.evaluate_automation_conditions(definitions or self.definitions, self.instance, cursor=self.cursor)
        self.cursor = found.cursor
        requested = {}
        for asset in sorted({*BEHIND_SPLITS, "splits", "generated_images"}):
            for name in found.get_requested_partitions(dg.AssetKey(asset)):
                requested.setdefault(name, set()).add(asset)
        return requested

    def make_by_hand(self, version, name="x00000"):
        tags = {"dagster/data_version": version}
        self.instance.report_runless_asset_event(dg.AssetMaterialization("splits", partition=name, tags=tags))


@pytest.fixture
def following(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", "")  # the scene sets it, and it is put back
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield Following(tmp_path, instance)


def test_what_was_made_by_hand_is_followed_once_by_all_that_comes_from_it(following):
    assert following.evaluate() == {}
    assert following.evaluate() == {}
    following.make_by_hand("another")
    assert following.evaluate() == {"x00000": BEHIND_SPLITS}
    assert following.evaluate() == {}


def test_another_change_is_followed_also_before_the_first_was(following):
    following.evaluate()
    following.make_by_hand("another")
    assert following.evaluate() == {"x00000": BEHIND_SPLITS}
    following.make_by_hand("a third")
    assert following.evaluate() == {"x00000": BEHIND_SPLITS}
    assert following.evaluate() == {}


def test_a_change_during_a_run_is_followed_when_that_is_over(following):
    following.evaluate()
    run = dg.DagsterRun("job_train", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "x00000"})
    following.instance.add_run(run)
    following.make_by_hand("another")
    following.make_by_hand("another", "x00001")
    assert following.evaluate() == {"x00001": BEHIND_SPLITS}
    assert following.evaluate() == {}
    following.instance.report_run_canceled(run)
    assert following.evaluate() == {"x00000": BEHIND_SPLITS}
    assert following.evaluate() == {}
