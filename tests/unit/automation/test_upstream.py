"""Which results are stale."""

import pytest

from assay.automation.reconcile import EndedRun
from assay.automation.upstream import Materialization, compare_changed, stale_assets
from assay.storage.files import write_json
from assay.storage.results import ResultStore


def chain(**versions):
    """Return splits → crops → tabular, each made from the version of the one before that it names."""
    return {name: Materialization(version, inputs) for name, (version, inputs) in versions.items()}


def test_results_made_from_the_recorded_inputs_are_not_stale():
    assert stale_assets(chain(splits=("s1", {}), crops=("c1", {"splits": "s1"}))) == {}


def test_another_version_of_an_input_makes_everything_downstream_stale():
    made = chain(splits=("s2", {}), crops=("c1", {"splits": "s1"}), tabular=("t1", {"crops": "c1"}))
    assert stale_assets(made) == {"crops": "splits s2", "tabular": "splits s2"}


def test_neither_a_missing_asset_nor_one_made_without_it_is_stale():
    assert stale_assets(chain(splits=("s2", {}), tabular=("t1", {"crops": "c1"}))) == {}


class Events:
    """Materializations of one experiment and whether a run is at work on it."""

    def __init__(self):
        self.last, self.busy, self.versions, self.ended = 7, set(), {}, {}

    def active(self, experiment_ids):
        return self.busy & set(experiment_ids)

    def unsuccessful(self, experiment_ids):
        return self.ended

    def materialized_after(self, event_id):
        return {"one": self.last} if self.last > event_id else {}

    def recorded(self, experiment_ids):
        return {name: self.versions for name in experiment_ids}


@pytest.fixture
def results(tmp_path):
    """A store with crops that were made from splits ``s1``."""
    write_json(tmp_path / "data" / "crops" / "c1" / "manifest.json", {"inputs": {"splits": "s1"}})
    return ResultStore(tmp_path)


def test_an_experiment_with_an_active_run_is_compared_later(results):
    events = Events()
    events.busy, events.versions = {"one"}, {"splits": "s2", "crops": "c1"}
    look = compare_changed(events, results, 0, [])
    assert (look.seen, look.waiting, look.stale) == (7, {"one"}, {})
    events.busy = set()
    look = compare_changed(events, results, look.seen, look.waiting)
    assert look.stale == {"one": {"crops": "splits s2"}}
    assert compare_changed(events, results, look.seen, look.waiting).stale == {}


def test_a_deleted_result_is_not_stale(results):
    events = Events()
    events.versions = {"splits": "s2", "crops": "gone"}
    assert compare_changed(events, results, 0, []).stale == {"one": {}}


def test_the_first_pass_only_records_where_to_begin(results):
    look = compare_changed(Events(), results, None, [])
    assert (look.seen, look.stale) == (7, {})


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_the_last_run_could_not_make_is_not_asked_for_again(results, cancelled):
    events = Events()
    events.versions = {"splits": "s2", "crops": "c1"}
    assert compare_changed(events, results, 0, []).stale["one"].keys() == {"crops"}
    events.ended = {"one": EndedRun("r", 0.0, cancelled, "crops", frozenset({"splits", "crops"}))}
    assert compare_changed(events, results, 0, []).stale == {"one": {}}
    events.ended = {"one": EndedRun("r", 0.0, cancelled, "splits", frozenset({"splits"}))}
    assert compare_changed(events, results, 0, []).stale["one"].keys() == {"crops"}
