"""What is asked for, when, and what is not: every promise of the automation, without an orchestrator."""

import time

import pytest

from assay.automation.reconcile import Reconciliation
from assay.automation.state import Memory
from assay.errors import IdError
from assay.experiments.folders import ExperimentFolders

ALL_FOR_REGRESSION = (
    "experiment",
    "spec/exptests",
    "generated_images",
    "splits",
    "crops",
    "tabular",
    "normalized",
    "trained_model",
    "predictions",
    "analysis",
)
LEARNING = ("trained_model", "predictions", "analysis")


def test_a_new_file_asks_for_everything_that_its_task_needs(desk):
    desk.save("one")
    (request,) = desk.look().requests
    assert request.assets == ALL_FOR_REGRESSION
    assert request.reasons == ("new experiment",)


def test_what_came_about_is_not_asked_for_again(desk):
    desk.settle("one")
    assert desk.memory.asked.keys() == {"one"}
    desk.save("one")
    plan = desk.look()
    assert plan.requests == []
    assert desk.memory.asked == {}
    assert plan.summary == "Every experiment is up to date."


def test_comments_and_the_order_of_keys_change_nothing(desk):
    desk.settle("one")
    desk.save("one", text="# new\nseed: 42\ntask: regression\n")
    assert desk.look().requests == []


@pytest.mark.parametrize(
    ("keys", "assets"),
    [
        ({"trained_model": {"learner": {"learning_rate": 0.02}}}, ("experiment", *LEARNING)),
        ({"predictions": {"datasets": ["test"]}, "analysis": {}}, ("experiment", "spec/exptests", *LEARNING[1:])),
        ({"exptests": {"tests": []}}, ("experiment", "spec/exptests")),
        ({"tags": {"sweep": "a"}}, ("experiment",)),
        ({"splits": {"seed": 3}}, ("experiment", "splits", "crops", "tabular", "normalized", *LEARNING)),
    ],
)
def test_a_changed_section_asks_for_its_stage_and_what_depends_on_it(desk, keys, assets):
    desk.settle("one")
    desk.save("one", **keys)
    (request,) = desk.look().requests
    assert set(request.assets) - {"spec/exptests"} == set(assets) - {"spec/exptests"}


def test_there_and_back_again_while_nothing_ran_asks_for_nothing_more(desk):
    desk.settle("one")
    desk.save("one", seed=7)
    desk.books.busy = {"one"}
    assert desk.look().requests == []
    desk.save("one")
    desk.books.busy = set()
    assert desk.look().requests == []


def test_a_change_and_its_undoing_with_a_run_between_are_two_requests_with_keys_of_their_own(desk):
    desk.settle("one")
    keys = set()
    for seed in (7, 42, 7):
        desk.save("one", seed=seed)
        (request,) = desk.look().requests
        desk.finish(request)
        keys.add(request.key)
    assert len(keys) == 3


def test_an_edit_during_a_run_is_looked_at_when_the_run_is_over(desk):
    desk.settle("one")
    desk.books.busy = {"one"}
    desk.save("one", seed=7)
    plan = desk.look()
    assert (plan.requests, plan.summary) == ([], "Looked at again when their run is over: one.")
    desk.books.busy = set()
    assert len(desk.look().requests) == 1


def test_a_file_saved_this_very_second_waits_for_the_next_look(desk):
    desk.save("one")
    desk.age(desk.specs.path("one"), 0.2)
    assert desk.look().requests == []
    desk.age(desk.specs.path("one"), 1.5)
    assert len(desk.look().requests) == 1


def test_an_unusable_file_is_reported_once_and_mended_by_the_next_save(desk):
    desk.save("one", text="task: regression\nsplits: {")
    assert "one.yaml" in desk.look().problems["one"]
    assert desk.look().problems == {}
    desk.save("one")
    plan = desk.look()
    assert plan.mended == ["one"]
    assert len(plan.requests) == 1


def test_a_file_whose_name_is_no_id_is_reported_and_never_run(desk):
    desk.save("My Experiment")
    plan = desk.look()
    assert "Nearest valid: 'my-experiment'" in plan.problems["My Experiment"]
    assert plan.requests == []


def test_a_failure_is_not_asked_for_again_until_spec_or_code_change(desk):
    desk.save("one")
    assert len(desk.look().requests) == 1
    desk.age(desk.specs.path("one"), 100)
    plan = desk.look()
    assert plan.requests == []
    assert "did not come about when asked for" in plan.summary
    assert len(desk.look(code="2").requests) == 1
    assert desk.look(code="2").requests == []
    desk.save("one", seed=7)
    assert len(desk.look(code="2").requests) == 1


def test_what_somebody_cancelled_stays_cancelled_until_the_file_is_saved_again(desk):
    desk.save("one")
    desk.books.stopped = {"one": time.time() - 3000}
    plan = desk.look()
    assert (plan.requests, "a run of it was cancelled" in plan.summary) == ([], True)
    assert desk.look(code="2").requests == []
    desk.save("one")
    desk.age(desk.specs.path("one"), 100)
    assert len(desk.look(code="2").requests) == 1


def test_new_code_alone_does_not_disturb_what_is_up_to_date(desk):
    desk.settle("one", "two")
    assert desk.look(code="2").requests == []


def test_everything_is_compared_once_per_code_version(desk):
    desk.settle("one", "two")
    del desk.books.versions["two"]["splits"]
    looking = Reconciliation(Memory(), desk.specs, desk.books)
    assert [request.experiment_id for request in looking.look_at_everything("v2").requests] == ["two"]
    again = Reconciliation(looking.memory, desk.specs, desk.books)
    assert again.look_at_everything("v2").requests == []


def test_a_removed_file_is_buried_at_the_second_look_and_its_id_refused_afterwards(desk):
    desk.settle("one")
    desk.specs.path("one").unlink()
    assert desk.look().problems == {}
    assert "was removed" in desk.look().problems["one"]
    with pytest.raises(IdError, match="already used"):
        desk.specs.create({"task": "regression"}, "one")
    desk.save("one", seed=8)
    assert "its ID is not used again" in desk.look().problems["one"]
    assert desk.books.versions.keys() == {"one"}


def test_the_same_file_put_back_restores_an_experiment(desk):
    desk.settle("one")
    text = desk.specs.path("one").read_text()
    desk.specs.path("one").unlink()
    desk.look()
    desk.look()
    desk.save("one", text=text)
    plan = desk.look()
    assert plan.requests == []
    assert "no longer counts as removed" in plan.notes[0]
    desk.save("one", seed=8)
    assert len(desk.look().requests) == 1


def test_a_file_that_is_gone_for_one_look_is_not_called_unusable(desk):
    desk.save("one")
    assert len(desk.look().requests) == 1
    desk.specs.path("one").unlink()
    assert desk.look(code="2").problems == {}
    desk.save("one")
    assert len(desk.look(code="2").requests) == 1


def test_an_editor_that_removes_and_writes_again_buries_nothing(desk):
    desk.settle("one")
    desk.specs.path("one").unlink()
    desk.look()
    desk.save("one", seed=9)
    assert len(desk.look().requests) == 1


def test_those_saved_last_come_first_and_a_full_queue_lets_the_others_wait(desk):
    desk.most_runs = 3
    for number in range(5):
        desk.save(f"x{number}")
    desk.books.others = 1
    assert [request.experiment_id for request in desk.look().requests] == ["x4", "x3"]
    desk.books.others = 3
    assert "3 experiments wait" in desk.look().summary
    desk.books.others = 0
    assert [request.experiment_id for request in desk.look().requests] == ["x2", "x1", "x0"]


def test_reasons_name_the_key_the_old_and_the_new_value(desk):
    desk.settle("one")
    ExperimentFolders(desk.specs.root).open("one", desk.specs.load("one"))
    desk.save("one", trained_model={"learner": {"learning_rate": 0.02}})
    (request,) = desk.look().requests
    assert request.reasons == ("trained_model.learner.learning_rate: 0.004 → 0.02",)
