"""Who becomes champion: by rule only what is surely better on the same items, by hand whoever is named; and back."""

import math
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.comparison.champions import decided, promote_by_hand, promote_by_rule
from assay.comparison.pairs import MetricDifference
from assay.errors import StorageError
from assay.experiments.boards import entered
from assay.experiments.contents import stage_results
from assay.experiments.folders import ExperimentFolders
from assay.experiments.garbage import collect_garbage, find_garbage
from tests.helpers.contestants import Contest

NUMBERS = st.floats(-1, 1, allow_nan=False)
WEAK, STRONG = range(40), range(10)
"""Test items, of 200, that are answered wrong: accuracy 0.8 and 0.95."""


@given(
    ends=st.tuples(NUMBERS, NUMBERS), chance=st.none() | st.floats(0, 1), metric=st.sampled_from(["accuracy", "mae"])
)
@pytest.mark.system
def test_nothing_is_called_better_whose_interval_holds_zero_or_that_chance_explains(ends, chance, metric):
    low, high = sorted(ends)
    found = decided("A and B", MetricDifference(metric, (0.5, 0.6), low, high), chance)
    if (
        low <= 0 <= high
        or (metric == "accuracy" and (high < 0 or (chance or 0) >= 0.05))
        or (metric == "mae" and low > 0)
    ):
        assert not found.is_better
    else:
        assert found.is_better
    assert found.sentence.startswith("surely better" if found.is_better else "not surely better")


def test_without_an_interval_nobody_is_better():
    found = decided("accuracy 1 and 0 of A", MetricDifference("accuracy", (0.0, 1.0), math.nan, math.nan), None)
    assert (found.is_better, found.sentence) == (
        False,
        "not surely better, chance may explain it: accuracy 1 and 0 of A",
    )


def test_the_sentence_has_both_values_the_margin_and_the_exact_test():
    found = decided("accuracy 0.9 and 0.8 of A", MetricDifference("accuracy", (0.8, 0.9), 0.05, 0.15), 0.001)
    assert found.sentence == "surely better: accuracy 0.9 and 0.8 of A, +0.1 [+0.05, +0.15], p = 0.001"


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    contest = Contest(tmp_path_factory.mktemp("contest"))
    contest.finish("weak", WEAK)
    contest.finish("twin", WEAK)
    contest.finish("strong", STRONG)
    contest.finish("slight", range(9))
    failing = {"kind": "metric", "subset": "test", "metric": "accuracy", "value": 2.0}
    contest.finish("failing", range(5), exptests={"tests": [failing]})
    warned = {**failing, "severity": "warn"}
    contest.finish("warned", range(5), exptests={"tests": [warned]})
    contest.finish("others", STRONG, items=150, splits={"seed": 2})
    contest.finish("few", WEAK, items=50, splits={"seed": 3}, board="small")
    contest.finish("fewer", range(5), items=30, splits={"seed": 4}, board="small")
    contest.finish("few-weak", range(20), items=30, splits={"seed": 4}, board="small")
    contest.finish("alone", WEAK, board=None)
    return contest.folder


@pytest.fixture
def contest(pattern, tmp_path):
    return Contest(shutil.copytree(pattern, tmp_path / "contest", symlinks=True))


def reasons(outcome):
    return {each.experiment_id: each.reason for each in outcome.considered}


@pytest.mark.system
def test_the_first_is_champion_and_only_a_surely_better_one_follows(contest):
    assert contest.consider("weak").promoted
    assert reasons(contest.consider("twin")) == {"twin": "not better: accuracy 0.800 and 0.800 of weak"}
    outcome = contest.consider("strong")
    assert outcome.promoted
    assert reasons(outcome)["strong"].startswith("surely better: accuracy 0.950 and 0.800 of weak, +0.15 [+0.")
    outcome = contest.consider("slight")
    assert not outcome.promoted
    assert reasons(outcome)["slight"].startswith(
        "not surely better, chance may explain it: accuracy 0.955 and 0.950 of strong, +0.005"
    )
    assert not contest.consider("weak").promoted
    state = contest.state()
    assert [each.experiment_id for each in state.history] == ["weak", "strong"]
    assert state.former.experiment_id == "weak"
    assert (state.champion.value, state.champion.by) == (0.95, "rule")
    assert (
        state.sentence("pets")
        == "strong is the champion of board pets: accuracy 0.950 [0.900, 1.000] on test; before: weak."
    )


@pytest.mark.system
def test_a_tie_keeps_the_champion_whoever_came_first(contest):
    contest.consider("twin")
    outcome = contest.consider("weak", "twin")
    assert contest.champion() == "twin"
    assert reasons(outcome) == {"twin": "it is the champion", "weak": "not better: accuracy 0.800 and 0.800 of twin"}


@pytest.mark.system
def test_of_all_at_once_the_best_is_promoted_and_the_same_look_again_changes_nothing(contest):
    for name in ("others", "failing", "warned"):
        contest.specs.path(name).unlink()
    assert contest.consider().promoted
    assert contest.champion() == "slight"
    before = contest.boards.path("pets").read_bytes()
    assert not contest.consider().promoted
    assert contest.boards.path("pets").read_bytes() == before


@pytest.mark.system
def test_who_fails_a_test_stays_out_and_a_warning_does_not_count(contest):
    contest.consider("weak")
    outcome = contest.consider("failing")
    assert not outcome.promoted
    assert reasons(outcome)["failing"].startswith("its tests failed: accuracy")
    assert contest.consider("warned").promoted


@pytest.mark.system
def test_other_test_items_are_refused_by_rule_with_both_names_and_the_key(contest):
    contest.consider("weak")
    outcome = contest.consider("others")
    assert not outcome.promoted
    assert reasons(outcome)["others"] == (
        "others and weak were tested on different items (they differ in splits.seed), so that nobody knows which is "
        "better. Next: evaluate both on the same items, or decide by hand: assay promote others"
    )
    assert promote_by_hand(contest.root, contest.specs, "others").promoted
    assert "different items" in contest.state().champion.reason


@pytest.mark.system
def test_a_first_champion_is_not_guessed_among_those_of_different_items(contest):
    outcome = contest.consider("strong", "others")
    assert not outcome.promoted
    assert outcome.state is None
    assert all("different items" in reason for reason in reasons(outcome).values())
    assert not contest.boards.path("pets").exists()


@pytest.mark.system
def test_few_items_prove_nothing(contest):
    contest.consider("few-weak", board="small")
    outcome = contest.consider("fewer", board="small")
    assert reasons(outcome)["fewer"].startswith(
        "too few items to be sure (30 of 40): accuracy 0.833 and 0.333 of few-weak"
    )
    assert contest.champion("small") == "few-weak"


@pytest.mark.system
def test_what_is_not_finished_or_says_otherwise_is_told(contest):
    contest.consider("weak")
    contest.enter("planned")
    contest.enter("sharp", board={"name": "pets", "metric": "log_loss"})
    found = reasons(contest.consider())
    assert found["planned"] == "Experiment 'planned' has no results yet. Next: assay run planned"
    assert "decided by accuracy on test, but its board.metric and board.subset are log_loss on test" in found["sharp"]


@pytest.mark.system
def test_a_person_decides_otherwise_and_the_rule_does_not_undo_it(contest):
    contest.consider("weak")
    contest.consider("strong")
    outcome = promote_by_hand(contest.root, contest.specs, "weak")
    assert outcome.promoted
    assert reasons(outcome)["weak"] == "by hand; not better: accuracy 0.800 and 0.950 of strong"
    found = reasons(contest.consider("weak", "strong", "twin"))
    assert contest.champion() == "weak"
    assert found["strong"] == "it was there when somebody chose by hand; now only by hand: assay promote strong"
    contest.finish("later", range(3))
    assert contest.consider().promoted
    assert contest.champion() == "later"


@pytest.mark.system
def test_who_is_champion_already_is_not_promoted_again(contest):
    promote_by_hand(contest.root, contest.specs, "weak")
    outcome = promote_by_hand(contest.root, contest.specs, "weak")
    assert not outcome.promoted
    assert len(contest.state().history) == 1


@pytest.mark.system
def test_one_step_back_restores_who_was_champion_and_the_rule_leaves_it(contest):
    contest.consider("weak")
    before = contest.state().champion
    contest.consider("strong")
    assert contest.boards.step_back(contest.specs) == "pets"
    assert contest.state().champion == before
    assert [bool(each.withdrawn) for each in contest.state().history] == [False, True]
    assert not contest.consider("strong").promoted
    assert promote_by_hand(contest.root, contest.specs, "strong").promoted
    assert contest.champion() == "strong"


@pytest.mark.system
def test_a_step_back_that_can_not_be_is_refused_and_writes_nothing(contest):
    with pytest.raises(StorageError, match=r"No board has a champion yet\. Next: assay promote ID"):
        contest.boards.step_back(contest.specs)
    contest.consider("weak")
    before = contest.boards.path("pets").read_bytes()
    with pytest.raises(StorageError, match=r"had no champion before 'weak'"):
        contest.boards.step_back(contest.specs)
    with pytest.raises(StorageError, match=r"The champion of board 'pets' is 'weak', not 'strong'"):
        contest.boards.step_back(contest.specs, experiment_id="strong")
    assert contest.boards.path("pets").read_bytes() == before
    contest.consider("strong")
    before = contest.boards.path("pets").read_bytes()
    shutil.rmtree(contest.root / "data" / "analysis" / contest.state().former.analysis)
    with pytest.raises(StorageError, match=r"The results of 'weak', promoted on board 'pets', are gone \(analysis"):
        contest.boards.step_back(contest.specs)
    assert contest.boards.path("pets").read_bytes() == before


@pytest.mark.system
def test_boards_are_told_apart_and_a_slip_names_the_nearest(contest):
    contest.consider("weak")
    with pytest.raises(StorageError, match=r"Board 'pet' does not exist\. Did you mean 'pets'\? Choices: pets, small"):
        promote_by_hand(contest.root, contest.specs, "strong", "pet")
    with pytest.raises(StorageError, match=r"Experiment 'wek' does not exist\. Did you mean 'weak'\?"):
        promote_by_hand(contest.root, contest.specs, "wek")
    assert promote_by_hand(contest.root, contest.specs, "alone").board == "main"
    assert promote_by_hand(contest.root, contest.specs, "alone", "pets").promoted
    assert contest.champion() == "alone"
    assert contest.boards.names() == ["main", "pets"]
    assert contest.boards.find() == "main"
    with pytest.raises(StorageError, match=r"Board 'petz' does not exist\. Did you mean 'pets'\?"):
        contest.boards.find("petz")


@pytest.mark.system
def test_of_several_boards_one_must_be_named(contest):
    contest.consider("weak")
    assert contest.boards.find() == "pets"
    contest.consider("few", board="small")
    with pytest.raises(
        StorageError, match=r"There are 2 boards\. Name one of their champions: champion:pets, champion:small"
    ):
        contest.boards.find()


@pytest.mark.system
def test_an_experiment_without_predictions_is_refused_by_hand(contest):
    contest.enter("planned")
    with pytest.raises(StorageError, match=r"Experiment 'planned' has no results yet\. Next: assay run planned"):
        promote_by_hand(contest.root, contest.specs, "planned")
    assert not promote_by_rule(contest.root, contest.specs, "planned").promoted
    assert not contest.boards.path("pets").exists()
    analysis = contest.consider("weak").state.champion.analysis
    shutil.rmtree(contest.root / "data" / "analysis" / analysis)
    with pytest.raises(StorageError, match=r"Experiment 'weak' has no analysis in this storage\. Next: assay run weak"):
        promote_by_hand(contest.root, contest.specs, "weak")


@pytest.mark.system
def test_one_that_can_not_be_read_keeps_no_other_out(contest):
    analysis = stage_results(contest.root, "twin")["analysis"].folder / "analysis.parquet"
    analysis.write_bytes(b"no table")
    contest.enter("broken", exptests={"tests": [{"kind": "files_exist"}]})
    contest.specs.path("slight").write_text("task: [board")
    outcome = contest.consider("weak", "twin", "broken")
    assert contest.champion() == "weak"
    assert "twin" in reasons(outcome)
    assert f"{analysis} can't be read as a table" in reasons(outcome)["twin"]
    named, problems = entered(contest.specs)
    assert "slight" not in named["pets"]
    assert [problem.partition(":")[0] for problem in problems] == ["slight"]


@pytest.mark.system
def test_an_imported_experiment_whose_data_are_elsewhere_may_be_promoted(contest):
    contest.consider("weak")
    shutil.rmtree(contest.root / "data" / "splits")
    assert promote_by_hand(contest.root, contest.specs, "strong").promoted
    assert contest.champion() == "strong"


@pytest.mark.system
def test_results_of_a_run_that_did_not_finish_are_refused(contest):
    contest.finish("half", STRONG)
    contest.enter("half", trained_model={"seed": 1})
    ExperimentFolders(contest.root).open("half", contest.specs.load("half"))  # as the first asset of a run does
    with pytest.raises(StorageError, match=r"its last run did not finish \(trained_model is of an earlier spec\)"):
        promote_by_hand(contest.root, contest.specs, "half")


@pytest.mark.system
def test_promotions_at_the_same_time_are_all_kept(contest):
    names = ["weak", "twin", "strong", "slight", "failing", "warned"]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: promote_by_hand(contest.root, contest.specs, name), names))
    assert sorted(each.experiment_id for each in contest.state().history) == sorted(names)
    assert not [path for path in contest.boards.folder.iterdir() if path.name != "pets.json"]


@pytest.mark.system
def test_another_task_is_refused_by_hand_too(contest):
    contest.finish("several", STRONG, board="small", trained_model={"data_description": {"multi_label": True}})
    contest.consider("few", board="small")
    with pytest.raises(
        StorageError, match=r"Experiment 'several' is multi_label, but board 'small'.* is of classification"
    ):
        promote_by_hand(contest.root, contest.specs, "several")
    assert contest.champion("small") == "few"


@pytest.mark.system
def test_the_champion_outlives_its_experiment_and_gc(contest):
    contest.consider("weak")
    contest.consider("strong")
    for path in contest.specs.folder.iterdir():
        path.unlink()
    kept = collect_garbage(contest.root, contest.specs, find_garbage(contest.root, contest.specs), settled_s=0)
    assert [each for each in kept if each.failed] == []
    assert {path.name for path in (contest.root / "data" / "predictions").iterdir() if path.name[0] != "."} == {
        contest.boards.results("pets", each)["predictions"].fingerprint for each in contest.state().history
    }
    contest.boards.step_back(contest.specs)
    assert contest.champion() == "weak"
    assert find_garbage(contest.root, contest.specs) != []
