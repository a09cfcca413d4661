"""Which results are behind their inputs."""

import pytest

from assay.automation.upstream import Made, behind, look_for_changes
from assay.storage.files import write_json
from assay.storage.results import ResultStore


def chain(**versions):
    """Return splits → crops → tabular, each made from the version of the one before that it names."""
    return {name: Made(version, inputs) for name, (version, inputs) in versions.items()}


def test_results_made_from_what_there_is_are_not_behind():
    assert behind(chain(splits=("s1", {}), crops=("c1", {"splits": "s1"}))) == {}


def test_another_version_of_an_input_puts_it_and_all_that_follows_behind():
    made = chain(splits=("s2", {}), crops=("c1", {"splits": "s1"}), tabular=("t1", {"crops": "c1"}))
    assert behind(made) == {"crops": "splits s2", "tabular": "splits s2"}


def test_what_was_never_made_is_not_behind_and_neither_is_what_was_made_without_it():
    assert behind(chain(splits=("s2", {}), tabular=("t1", {"crops": "c1"}))) == {}


class Events:
    """Materializations of one experiment and whether a run is at work on it."""

    def __init__(self):
        self.last, self.busy, self.versions = 7, set(), {}

    def active(self, experiment_ids):
        return self.busy & set(experiment_ids)

    def materialized_after(self, event_id):
        return {"one": self.last} if self.last > event_id else {}

    def recorded(self, experiment_ids):
        return {name: self.versions for name in experiment_ids}


@pytest.fixture
def results(tmp_path):
    """A store with crops that were made from splits ``s1``."""
    write_json(tmp_path / "data" / "crops" / "c1" / "manifest.json", {"inputs": {"splits": "s1"}})
    return ResultStore(tmp_path)


def test_an_experiment_at_work_is_compared_when_it_rests(results):
    events = Events()
    events.busy, events.versions = {"one"}, {"splits": "s2", "crops": "c1"}
    look = look_for_changes(events, results, 0, [])
    assert (look.seen, look.waiting, look.behind) == (7, {"one"}, {})
    events.busy = set()
    look = look_for_changes(events, results, look.seen, look.waiting)
    assert look.behind == {"one": {"crops": "splits s2"}}
    assert look_for_changes(events, results, look.seen, look.waiting).behind == {}


def test_a_result_that_is_gone_is_not_behind(results):
    events = Events()
    events.versions = {"splits": "s2", "crops": "gone"}
    assert look_for_changes(events, results, 0, []).behind == {"one": {}}


def test_the_first_look_only_notes_where_to_begin(results):
    look = look_for_changes(Events(), results, None, [])
    assert (look.seen, look.behind) == (7, {})
