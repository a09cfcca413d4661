"""Which runs are requested, when and why: every promise of the automation, without an orchestrator."""

import os
import time
from dataclasses import replace

import pytest

from assay.automation.reconcile import EndedRun, Reconciliation
from assay.automation.state import AutomationState
from assay.errors import IdError
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import mark_forgotten, store_run_config
from tests.unit.automation.conftest import InMemoryRecords

ALL_FOR_REGRESSION = (
    "experiment",
    "spec_exptests",
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


def test_a_new_file_requests_everything_that_its_task_needs(project):
    project.save("one")
    (request,) = project.reconcile().requests
    assert request.assets == ALL_FOR_REGRESSION
    assert request.reasons == ("new experiment",)


def test_a_fulfilled_request_is_not_repeated(project):
    project.settle("one")
    assert project.state.asked.keys() == {"one"}
    project.save("one")
    plan = project.reconcile()
    assert plan.requests == []
    assert project.state.asked == {}
    assert plan.summary == "Every experiment is up to date."


def test_comments_and_the_order_of_keys_change_nothing(project):
    project.settle("one")
    project.save("one", text="# new\nseed: 42\ntask: regression\n")
    assert project.reconcile().requests == []


@pytest.mark.parametrize(
    ("keys", "assets"),
    [
        ({"trained_model": {"learner": {"learning_rate": 0.02}}}, ("experiment", *LEARNING)),
        ({"predictions": {"datasets": ["test"]}, "analysis": {}}, ("experiment", "spec_exptests", *LEARNING[1:])),
        ({"exptests": {"tests": []}}, ("experiment", "spec_exptests")),
        ({"tags": {"sweep": "a"}}, ("experiment",)),
        ({"splits": {"seed": 3}}, ("experiment", "splits", "crops", "tabular", "normalized", *LEARNING)),
    ],
)
def test_a_changed_section_requests_its_stage_and_everything_downstream(project, keys, assets):
    project.settle("one")
    project.save("one", **keys)
    (request,) = project.reconcile().requests
    assert set(request.assets) - {"spec_exptests"} == set(assets) - {"spec_exptests"}


def test_a_change_that_is_undone_before_a_run_requests_nothing_more(project):
    project.settle("one")
    project.save("one", seed=7)
    project.records.busy = {"one"}
    assert project.reconcile().requests == []
    project.save("one")
    project.records.busy = set()
    assert project.reconcile().requests == []


def test_a_change_that_is_undone_after_a_run_is_two_requests_with_different_keys(project):
    project.settle("one")
    keys = set()
    for seed in (7, 42, 7):
        project.save("one", seed=seed)
        (request,) = project.reconcile().requests
        project.finish(request)
        keys.add(request.key)
    assert len(keys) == 3


def test_an_edit_during_a_run_is_compared_when_the_run_is_over(project):
    project.settle("one")
    project.records.busy = {"one"}
    project.save("one", seed=7)
    plan = project.reconcile()
    assert (plan.requests, plan.summary) == ([], "Compared again when their run is over: one.")
    project.records.busy = set()
    assert len(project.reconcile().requests) == 1


def test_a_file_saved_just_now_waits_for_the_next_pass(project):
    project.save("one")
    project.age(project.specs.path("one"), 0.2)
    assert project.reconcile().requests == []
    project.age(project.specs.path("one"), 1.5)
    assert len(project.reconcile().requests) == 1


def test_an_invalid_file_is_reported_once_and_recovers_with_the_next_save(project):
    project.save("one", text="task: regression\nsplits: {")
    assert "one.yaml" in project.reconcile().problems["one"]
    assert project.reconcile().problems == {}
    project.save("one")
    plan = project.reconcile()
    assert plan.recovered == ["one"]
    assert len(plan.requests) == 1


def test_a_file_whose_name_is_no_id_is_reported_and_never_run(project):
    project.save("My Experiment")
    plan = project.reconcile()
    assert "Nearest valid: 'my-experiment'" in plan.problems["My Experiment"]
    assert plan.requests == []


def test_a_failed_run_is_not_repeated_until_the_spec_or_the_code_changes(project):
    project.save("one")
    assert len(project.reconcile().requests) == 1
    project.age(project.specs.path("one"), 100)
    plan = project.reconcile()
    assert plan.requests == []
    assert "did not come about when asked for" in plan.summary
    assert len(project.reconcile(code="2").requests) == 1
    assert project.reconcile(code="2").requests == []
    project.save("one", seed=7)
    assert len(project.reconcile(code="2").requests) == 1


def test_a_cancelled_run_is_not_repeated_until_the_file_is_saved_again(project):
    project.save("one")
    project.records.ended = {"one": EndedRun("r", time.time() - 3000, cancelled=True)}
    plan = project.reconcile()
    assert (plan.requests, "its last run was cancelled" in plan.summary) == ([], True)
    assert project.reconcile(code="2").requests == []
    project.save("one")
    project.age(project.specs.path("one"), 100)
    assert len(project.reconcile(code="2").requests) == 1


def failed(project, name, created, stage="trained_model", assets=None):
    """Record a run in which a stage failed with the experiment's current file, started by anybody."""
    run = EndedRun(f"run-{created}", created, stage=stage, assets=assets)
    store_run_config(project.specs.root, run.run_id, name, project.specs.load(name))
    project.records.ended[name] = run


def test_what_failed_in_a_run_that_somebody_else_started_is_not_repeated_until_something_changes(project):
    project.save("one")
    failed(project, "one", time.time())
    plan = project.reconcile()
    assert plan.requests == []
    assert plan.summary.startswith("one: trained_model failed in its last run, and nothing has changed since.")
    assert project.reconcile().requests == []
    assert len(project.reconcile(code="2").requests) == 0
    project.code_since = time.time() + 60
    assert len(project.reconcile(code="3").requests) == 1
    project.save("one", seed=7)
    assert len(project.reconcile(code="3").requests) == 1


@pytest.mark.parametrize("change", ["killed", "other assets", "another spec", "newer code"])
def test_a_failure_of_something_else_is_no_reason_to_do_nothing(project, change):
    project.save("one")
    failed(project, "one", time.time(), assets=frozenset({"splits"}) if change == "other assets" else None)
    if change == "killed":
        project.records.ended["one"] = replace(project.records.ended["one"], stage="")
    if change == "another spec":
        project.save("one", seed=7)
    if change == "newer code":
        project.code_since = time.time() + 60
    assert len(project.reconcile().requests) == 1


def test_a_failed_training_after_an_edit_is_asked_for_once(project):
    project.settle("one")
    project.save("one", splits={"seed": 3})
    (request,) = project.reconcile().requests
    failed(project, "one", time.time(), assets=frozenset(request.assets))
    project.state.dirty.add("one")
    assert project.reconcile().requests == []


class Faster(InMemoryRecords):
    """Records of an orchestrator in which somebody starts a run by hand while automation compares."""

    def unsuccessful(self, experiment_ids):
        before = super().unsuccessful(experiment_ids)
        self.busy = {"one"}
        return before


def test_a_run_that_somebody_starts_during_a_pass_is_not_requested_too(project):
    project.records = Faster()
    project.save("one")
    project.save("two")
    assert [request.experiment_id for request in project.reconcile().requests] == ["two"]
    assert (project.state.dirty, project.state.asked.keys()) == ({"one"}, {"two"})


def test_new_code_alone_does_not_disturb_what_is_up_to_date(project):
    project.settle("one", "two")
    assert project.reconcile(code="2").requests == []


def test_everything_is_compared_once_per_code_version(project):
    project.settle("one", "two")
    del project.records.versions["two"]["splits"]
    reconciliation = Reconciliation(AutomationState(), project.specs, project.records)
    assert [request.experiment_id for request in reconciliation.reconcile_all("v2").requests] == ["two"]
    again = Reconciliation(reconciliation.state, project.specs, project.records)
    assert again.reconcile_all("v2").requests == []


def test_a_removed_file_counts_as_removed_in_the_second_pass_and_its_id_stays_refused(project):
    project.settle("one")
    project.specs.path("one").unlink()
    assert project.reconcile().problems == {}
    assert "was removed" in project.reconcile().problems["one"]
    with pytest.raises(IdError, match="already used"):
        project.specs.create({"task": "regression"}, "one")
    project.save("one", seed=8)
    assert "its ID is not used again" in project.reconcile().problems["one"]
    assert project.records.versions.keys() == {"one"}


def test_a_forgotten_experiment_is_no_removal_and_its_id_is_free(project):
    project.settle("one")
    mark_forgotten(project.specs.root, "one")
    project.specs.path("one").unlink()
    project.reconcile()
    plan = project.reconcile()
    assert (plan.problems, plan.notes) == ({}, ["one: it was forgotten."])
    assert project.specs.tombstones.ids() == set()
    project.save("one", seed=8)
    assert [request.experiment_id for request in project.reconcile().requests] == ["one"]


def test_a_file_saved_after_its_id_was_forgotten_may_be_removed_like_any_other(project):
    mark_forgotten(project.specs.root, "one")
    note = project.specs.root / "automation" / "forgotten" / "one"
    os.utime(note, (1, 1))
    project.settle("one")
    project.specs.path("one").unlink()
    project.reconcile()
    assert "was removed" in project.reconcile().problems["one"]
    assert not note.exists()


def test_the_same_file_put_back_restores_an_experiment(project):
    project.settle("one")
    text = project.specs.path("one").read_text()
    project.specs.path("one").unlink()
    project.reconcile()
    project.reconcile()
    project.save("one", text=text)
    plan = project.reconcile()
    assert plan.requests == []
    assert "no longer counts as removed" in plan.notes[0]
    project.save("one", seed=8)
    assert len(project.reconcile().requests) == 1


def test_a_file_that_is_missing_in_one_pass_is_not_reported_as_invalid(project):
    project.save("one")
    assert len(project.reconcile().requests) == 1
    project.specs.path("one").unlink()
    assert project.reconcile(code="2").problems == {}
    project.save("one")
    assert len(project.reconcile(code="2").requests) == 1


def test_an_editor_that_removes_a_file_and_writes_it_again_removes_no_experiment(project):
    project.settle("one")
    project.specs.path("one").unlink()
    project.reconcile()
    project.save("one", seed=9)
    assert len(project.reconcile().requests) == 1


def test_the_last_saved_come_first_and_the_others_wait_while_the_queue_is_full(project):
    project.max_runs = 3
    for number in range(5):
        project.save(f"x{number}")
    project.records.others = 1
    assert [request.experiment_id for request in project.reconcile().requests] == ["x4", "x3"]
    project.records.others = 3
    assert "3 experiments wait" in project.reconcile().summary
    project.records.others = 0
    assert [request.experiment_id for request in project.reconcile().requests] == ["x2", "x1", "x0"]


def test_reasons_name_the_key_the_old_and_the_new_value(project):
    project.settle("one")
    ExperimentFolders(project.specs.root).open("one", project.specs.load("one"))
    project.save("one", trained_model={"learner": {"learning_rate": 0.02}})
    (request,) = project.reconcile().requests
    assert request.reasons == ("spec: trained_model.learner.learning_rate: 0.004 → 0.02",)
