"""The command ``tune``: what is refused before anything is trained, and what is told at the end."""

import sys

import pytest

from assay.checks.result import verdict
from assay.cli.tune import Search, _failures, _next_steps, _outcome, planned_study
from assay.errors import AssayError
from assay.experiments.specs import SpecFiles
from assay.experiments.studies import Study, Trial
from assay.spec.loading import spec_from
from tests.helpers.commands import run_command

BASE = """\
task: classification
trained_model: {train_params: {epochs: 27}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


@pytest.fixture
def planned(folder):
    """Plan a search of ``base.yaml``."""

    def make(*space, base="base.yaml", name="", metric="", sampler="tpe", pruner="none", trials=4):
        chosen = space or ("learning_rate=log:1e-4..1e-2",)
        store = SpecFiles(folder / "experiments", folder / "storage")
        return planned_study(Search(base, chosen, trials, name, metric, sampler, pruner), store)

    return make


def test_a_search_measures_the_main_metric_on_the_validation_data(planned):
    plan = planned()
    assert (plan.name, plan.metric, plan.higher_is_better, plan.subset) == ("base-tune", "accuracy", True, "validation")
    assert (plan.sampler, plan.pruner, plan.seed) == ("tpe", "none", 42)
    assert not planned(metric="log_loss").higher_is_better


def test_trials_are_on_no_board_where_the_test_data_would_choose_among_them(planned, folder):
    (folder / "base.yaml").write_text(f"{BASE}board: digits\n")
    assert "board" not in planned().space.base


@pytest.mark.parametrize(
    ("pruner", "space", "expected"),
    [
        ("halving", (), 3),
        ("hyperband", (), 3),
        ("halving:5", (), 5),
        ("halving", ("epochs=9..90",), 1),
        ("halving", ("epochs=90..180",), 10),
        ("halving", ("epochs=null|45",), 5),
        ("none", (), 1),
    ],
)
def test_a_trial_may_be_pruned_first_after_a_ninth_of_its_epochs(planned, pruner, space, expected):
    assert planned(*space, pruner=pruner).min_epochs == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"metric": "acuracy"}, "--metric: Metric 'acuracy' does not exist. Did you mean 'accuracy'?"),
        ({"metric": "mae"}, "--metric: mae is not a metric of classification, but of regression."),
        ({"metric": "f1"}, "--metric: f1 has one value per class; expected one of accuracy, "),
        ({"sampler": "tpa"}, "--sampler: Sampler 'tpa' does not exist. Did you mean 'tpe'?"),
        ({"pruner": "halfing"}, "--pruner: Pruner 'halfing' does not exist. Did you mean 'halving'?"),
        ({"pruner": "halving:0"}, "--pruner: got 'halving:0'; expected halving:EPOCHS, such as halving:3"),
        ({"pruner": "none:3"}, "--pruner: got 'none:3'"),
        (
            {"pruner": "halving:27"},
            "--pruner: halving:27 would end no trial, since trainings have 27 epochs at most; expected fewer, such as "
            "halving:3",
        ),
        ({"base": "nothing.yaml"}, "nothing.yaml: does not exist"),
        ({"base": "nothing"}, "Experiment 'nothing' does not exist"),
        ({"name": "My Study"}, "Nearest valid: 'my-study'"),
    ],
)
def test_a_wrong_option_is_one_sentence_with_the_next_step(planned, options, expected):
    with pytest.raises(AssayError) as caught:
        planned(**options)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("base", "options", "expected"),
    [
        ("existing_experiment: other", {}, "existing_experiment is set: it trains nothing"),
        (
            "trained_model: {data_validation: null, train_params: {choose_epoch: last}}",
            {},
            "data_validation is null: a search needs validation data",
        ),
        ("predictions: {datasets: [test]}", {}, "predictions.datasets is [test], without 'validation'"),
        (
            "analysis: {result_analyzer: {metrics: [accuracy]}}",
            {"metric": "macro_f1"},
            "--metric: macro_f1 is not in analysis.result_analyzer.metrics of base.yaml; add it there",
        ),
        (
            "generated_images: {source: {kind: table, path: a.csv, target_column: y}}\n"
            "trained_model: {model: {kind: gradient_boosting}}",
            {"pruner": "halving", "space": ("trees=10..20",)},
            "--pruner: the model is fitted at once, without epochs to prune after; leave --pruner out",
        ),
        (
            "generated_images: {source: {kind: table, path: a.csv, target_column: y}}",
            {"pruner": "halving", "space": ("model.kind=mlp|linear",)},
            "--pruner: the model is fitted at once",
        ),
        (
            "",
            {"pruner": "halving", "space": ("stop_after=1..3",)},
            "--pruner: halving sets trained_model.train_params.stop_after, which is in the space",
        ),
        (
            "trained_model: {train_params: {stop_after: 3}}",
            {"pruner": "halving"},
            "--pruner: halving sets trained_model.train_params.stop_after, which is 3 in the base; leave one",
        ),
        (
            "generated_images: {source: {kind: table, path: a.csv, target_column: y}}",
            {"pruner": "halving", "space": ("rare_below=1..9",)},
            "--pruner: the model is chosen by the data (model.kind: auto), also among some without epochs",
        ),
    ],
)
def test_a_base_that_can_not_be_searched_is_one_sentence(planned, folder, base, options, expected):
    (folder / "base.yaml").write_text(f"task: classification\n{base}\n")
    with pytest.raises(AssayError) as caught:
        planned(*options.pop("space", ()), **options)
    assert expected in str(caught.value)


def test_the_command_refuses_before_it_writes_anything(folder, monkeypatch, capsys):
    code, output = run_command(monkeypatch, capsys, "tune", "base.yaml", "--space", "learning_rate=1..0")
    assert (code, output.splitlines()) == (
        1,
        ["error: --space: learning_rate=1..0 ends before it begins; expected learning_rate=0..1"],
    )
    assert not (folder / "storage").exists()


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, output = run_command(monkeypatch, capsys, "tune", "base.yaml", "--space", "epochs=1..9")
    assert (code, output) == (1, "error: assay tune needs optuna. Next: pip install 'assay[tune]'\n")


@pytest.mark.system
def test_at_the_end_the_best_are_shown_with_what_to_do_next(planned, folder):
    plan = planned("learning_rate=log:1e-4..1e-2", "optimizer=adamw|sgd", pruner="halving", sampler="random")
    study = Study(plan, SpecFiles(folder / "experiments", folder / "storage"), folder / "home")
    for number in range(10):
        with study.next_trial(10) as trial:
            if number == 1:
                study.fail(trial, "The loss became nan.")
            elif number == 2:
                assert study.is_to_be_pruned(trial, 3, 0.1)
                study.prune(trial)
            else:
                study.is_to_be_pruned(trial, 3, 0.8)
                study.complete(trial, 0.9 - 10 * trial.changes["trained_model.learner.learning_rate"])
    text = "\n".join(_outcome(study))
    assert "Study base-tune: 10 trials, 8 complete, 1 pruned, 1 failed." in text
    assert "accuracy (validation)" in text
    best = max(study.trials(), key=lambda each: each.value or 0)
    assert f"Best: {best.experiment_id}, accuracy {best.value:.4g} on validation, by which it was chosen" in text
    assert f"assay promote {best.experiment_id} " in text
    assert "pruned at epoch 3" in text
    assert "Importance of the keys (fANOVA of 8 complete trials): learning_rate " in text
    assert "Failed: base-tune-02: The loss became nan." in text


def test_a_failed_test_of_the_test_data_chooses_no_trial():
    tests = [
        {"kind": "metric", "metric": "accuracy", "value": 0.9, "blocking": True},
        {"kind": "metric", "metric": "accuracy", "value": 0.8, "subset": "validation", "blocking": True},
        {"kind": "models_saved", "blocking": True},
    ]
    spec = spec_from({"task": "classification", "exptests": {"tests": tests}}, "trial")
    failed = [verdict(test, False, "", measured="", expected="") for test in spec.exptests.tests]
    assert _failures(failed, spec, "validation") == "failed: metric, models_saved"
    assert _failures(failed[:1], spec, "validation") == ""


def test_the_best_of_trials_that_were_all_pruned_or_failed_a_test_says_so(planned):
    plan = planned(pruner="halving")
    assert len(list(_next_steps(Trial(0, "s-01", {}, "complete", 0.9), plan))) == 4
    lines = list(_next_steps(Trial(0, "s-01", {}, "pruned", 0.9, 3), plan))
    assert lines[1].endswith("This one is the best of the others: pruned at epoch 3")
