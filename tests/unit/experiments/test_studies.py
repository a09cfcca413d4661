"""Studies: the same trials again, in one process or several, and a trial that nobody finished is gone on with."""

from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

import pytest

from assay.errors import DataError, SpecError, StorageError
from assay.experiments.search_space import read_space
from assay.experiments.specs import SpecFiles
from assay.experiments.studies import (
    MOST_ATTEMPTS,
    Study,
    StudyPlan,
    Trial,
    best_first,
    require_same_study,
)
from assay.experiments.sweeps import free_ids

pytest.importorskip("optuna")

RATE = "trained_model.learner.learning_rate"
SPACE = ("learning_rate=log:1e-4..1e-2", "model.width=16|32")


def plan(*space, base=None, name="s", metric="accuracy", sampler="random", pruner="none", min_epochs=2):
    chosen = read_space(space or SPACE, {"task": "classification", **(base or {})}, "base.yaml", name)
    return StudyPlan(name, chosen, metric, True, "validation", sampler, pruner, min_epochs)


@pytest.fixture
def opened(tmp_path):
    """Open the study of a plan, in a project of its own."""

    def make(own=None):
        return Study(own or plan(), SpecFiles(tmp_path / "experiments", tmp_path / "storage"), tmp_path / "home")

    return make


def run(study, total, left=None):
    """Run trials, whose metric is best at a learning rate of 0.001; leave the one with the number ``left`` as it is."""
    ran = []
    while True:
        with study.next_trial(total) as trial:
            if trial is None:
                return ran
            ran.append((trial.experiment_id, *trial.changes.values()))
            if trial.number == left:
                return ran
            study.complete(trial, -abs(trial.changes[RATE] - 0.001))


@pytest.mark.system
def test_a_study_that_goes_on_after_a_kill_has_the_trials_of_an_undisturbed_one(opened, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    whole = run(Study(plan(), SpecFiles(other / "experiments", other / "storage"), other / "home"), 4)
    begun = run(opened(), 4, left=1)
    assert begun + run(opened(), 4) == [*whole[:2], *whole[1:]]
    assert [name for name, *_ in whole] == ["s-01", "s-02", "s-03", "s-04"]
    assert run(opened(), 4) == []
    assert len(run(opened(), 5)) == 1


def test_other_seeds_give_other_trials():
    from assay.experiments.studies import _sampler

    first, same, other, seeded = (
        _sampler("random", *seed)._rng.rng.random() for seed in ((1, 0), (1, 0), (1, 1), (2, 0))
    )
    assert first == same
    assert len({first, other, seeded}) == 3


def test_a_trial_at_work_is_nobody_elses_and_two_never_make_one_too_many(opened):
    one, two = opened(), opened()
    with ExitStack() as stack:
        mine, theirs = (stack.enter_context(study.next_trial(2)) for study in (one, two))
        assert {mine.experiment_id, theirs.experiment_id} == {"s-01", "s-02"}
        assert stack.enter_context(two.next_trial(2)) is None
    with one.next_trial(2) as again:
        assert again.experiment_id == "s-01"


@pytest.mark.system
def test_a_trial_on_which_processes_die_again_and_again_counts_as_failed(opened):
    for _ in range(MOST_ATTEMPTS):
        with opened().next_trial(1) as trial:
            assert trial.experiment_id == "s-01"
    study = opened()
    with study.next_trial(1) as trial:
        assert trial is None
    (trial,) = study.trials()
    assert (trial.state, trial.problem) == ("failed", "3 processes were killed while it ran")


def test_equal_values_are_one_experiment(opened):
    study = opened(plan("optimizer=adamw|sgd"))
    names = set()
    while True:
        with study.next_trial(4) as trial:
            if trial is None:
                break
            names.add(trial.experiment_id)
            twin = study.same_as(trial)
            study.complete(trial, 0.5 if twin is None else twin.value)
    assert len(study.trials()) == 4
    assert names == {"s-01", "s-02"}


@pytest.mark.system
@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
def test_a_trial_that_is_worse_than_others_at_the_same_epoch_is_pruned_and_keeps_its_value(opened, pruner):
    study, states = opened(plan(pruner=pruner)), []
    for number in range(6):
        with study.next_trial(6) as trial:
            for epoch in (2, 6, 18):
                if study.is_to_be_pruned(trial, epoch, 0.9 - 0.1 * number):
                    study.prune(trial)
                    break
            else:
                study.complete(trial, 0.95 - 0.1 * number)
            states.append(study.trials()[number])
    assert states[0].status == "complete"
    pruned = [each for each in states if each.state == "pruned"]
    assert len(pruned) >= 3
    assert {each.status for each in pruned} <= {f"pruned at epoch {epoch}" for epoch in (2, 6, 18)}
    assert pruned[-1].value == pytest.approx(0.9 - 0.1 * pruned[-1].number)


def test_rungs_grow_by_the_reduction():
    rungs = plan(pruner="halving").rungs
    assert [next(rungs) for _ in range(3)] == [2, 6, 18]
    assert list(plan().rungs) == []


def test_a_failed_trial_keeps_the_reason(opened):
    study = opened()
    with study.next_trial(1) as trial:
        study.fail(trial, "The loss became nan.")
    assert [(each.status, each.problem, each.value) for each in study.trials()] == [
        ("failed", "The loss became nan.", None)
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            plan("learning_rate=log:1e-4..1e-1", "model.width=16|32"),
            f"the space: {RATE} was log:0.0001..0.01, now log:",
        ),
        (plan(SPACE[0]), "the space: trained_model.model.width was 16|32, now nothing"),
        (plan(*SPACE, "epochs=5..9"), "the space: trained_model.train_params.epochs was nothing, now 5..9"),
        (plan(base={"seed": 7}), "the base: seed was 42, now 7"),
        (
            plan(base={"trained_model": {"train_params": {"early_stopping": {"patience": 3}}}}),
            "the base: trained_model.train_params.early_stopping was null, now nothing",
        ),
        (
            plan(base={"trained_model": {"train_params": {"calibration": "temperature"}}}),
            "the base: trained_model.train_params.calibration was nothing, now temperature",
        ),
        (
            plan(base={"trained_model": {"train_params": {"stop_after": 3}}}),
            "the base: trained_model.train_params.stop_after was nothing, now 3",
        ),
        (plan(metric="macro_f1"), "--metric was accuracy, now macro_f1"),
        (plan(sampler="tpe"), "--sampler was random, now tpe"),
        (plan(pruner="halving"), "--pruner was none, now halving:2"),
    ],
)
def test_a_study_that_would_be_another_one_says_what_changed_and_how_to_begin_anew(changed, expected):
    with pytest.raises(SpecError) as caught:
        require_same_study(plan().record(), changed.record(), "s")
    assert expected in str(caught.value)
    assert "begin another study: --name s-2" in str(caught.value)
    with pytest.raises(SpecError, match="begin another study: --name s-2"):
        require_same_study(changed.record(), plan().record(), "s")


def test_what_no_result_depends_on_may_change(opened):
    opened()
    opened(plan(base={"name": "new", "description": "text", "trained_model": {"clear_folder": True}}))
    with pytest.raises(SpecError, match="study s: was begun with another plan: the base: seed"):
        opened(plan(base={"seed": 7}))


def test_a_failed_test_is_kept_and_metrics_of_other_items_are_refused(opened):
    study = opened()
    with study.next_trial(1) as trial:
        study.complete(trial, 0.5, "failed: models_saved")
    assert [each.status for each in study.trials()] == ["failed: models_saved"]
    study.require_same_items("abc", "s-01")
    study.require_same_items("abc", "s-02")
    with pytest.raises(DataError, match="s-03 was measured on other items of validation"):
        opened().require_same_items("def", "s-03")


def test_trials_of_changed_files_are_refused_unless_the_space_varies_the_data(opened):
    study = opened()
    study.require_same_source("abc", "s-01")
    study.require_same_source("abc", "s-02")
    with pytest.raises(DataError, match=r"s-03 was made from other files .* the data changed since.*--name s-2"):
        opened().require_same_source("def", "s-03")
    varied = opened(plan("generated_images.seed=1|2", name="sizes"))
    varied.require_same_source("abc", "sizes-01")
    varied.require_same_source("def", "sizes-02")


def test_more_trials_have_the_next_numbers_with_more_digits():
    used = {"s-01", "s-02", "s-x", "t-3", "other"}
    assert list(islice(free_ids("s", 20, used), 2)) == ["s-03", "s-04"]
    assert list(islice(free_ids("s", 200, used), 2)) == ["s-003", "s-004"]


def test_damaged_records_are_one_sentence(opened, tmp_path):
    path = tmp_path / "storage" / "tuning" / "studies.db"
    path.parent.mkdir(parents=True)
    path.write_text("no database")
    with pytest.raises(StorageError, match=r"studies\.db, the records of all studies, can't be used.*Move it away"):
        opened()


def test_the_best_come_first_but_pruned_ones_and_those_of_which_a_test_failed():
    states = [("complete", 0.5), ("pruned", 0.9), ("failed", None), ("complete", 0.7), ("complete", 0.95)]
    trials = [Trial(number, f"s-{number}", {}, state, value) for number, (state, value) in enumerate(states)]
    trials[-1] = replace(trials[-1], problem="failed: models_saved")
    assert [each.number for each in best_first(trials, True)] == [3, 0, 4, 1]
    assert [each.number for each in best_first(trials, False)] == [0, 3, 1, 4]
    assert [each.status for each in trials[3:]] == ["complete", "failed: models_saved"]
