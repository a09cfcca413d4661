"""The command ``sweep``: what it prints and writes."""

import sys

import pytest

from assay.cli.main import main
from assay.experiments.specs import SpecFiles
from tests.helpers.comparison_cases import run_all


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text("# keep me\ntask: regression\n")
    return tmp_path / "experiments"


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["assay", "sweep", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return run


def test_a_dry_run_shows_the_table_and_writes_nothing(folder, call):
    code, out, _ = call("base.yaml", "--grid", "epochs=5,10", "--dry-run")
    assert code == 0
    assert out.splitlines()[:3] == [
        "experiment     epochs",
        "base-sweep-01       5  new",
        "base-sweep-02      10  new",
    ]
    assert "Would write 2 experiments." in out
    assert not folder.exists()


def test_a_sweep_of_a_file_leaves_the_file_alone_and_says_what_is_next(folder, call):
    code, out, _ = call("base.yaml", "--grid", "epochs=5,10", "--name", "lr")
    assert code == 0
    assert "Wrote 2 experiments. Next: assay run lr-01" in out
    assert "Then: assay compare --sweep lr" in out
    assert sorted(path.name for path in folder.iterdir()) == ["lr-01.yaml", "lr-02.yaml"]
    assert (folder.parent / "base.yaml").read_text() == "# keep me\ntask: regression\n"


def test_a_sweep_of_an_experiment_with_seeds_shares_the_data(folder, call):
    folder.mkdir()
    (folder / "mine.yaml").write_text("task: regression\nseed: 7\n")
    assert call("mine", "--seeds", "3")[0] == 0
    assert "seed: 9" in (folder / "mine-sweep-03.yaml").read_text().split("trained_model:")[1]
    code, out, _ = call("mine", "--seeds", "3")
    assert (code, "Wrote 0 experiments; 3 exist already." in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["base.yaml"], "--grid: is missing"),
        (["nothing", "--grid", "epochs=5"], "Experiment 'nothing' does not exist"),
        (["nothing.yaml", "--grid", "epochs=5"], "nothing.yaml: does not exist"),
        (["base.yaml", "--grid", "epochs=0,5"], "epochs: got 0; input should be greater than or equal to 1"),
    ],
)
def test_an_invalid_sweep_is_one_message_and_writes_nothing(folder, call, arguments, expected):
    code, _, err = call(*arguments)
    assert code == 1
    assert expected in err
    assert not folder.exists()


def test_a_sweep_over_folds_has_one_experiment_per_fold_and_combination(folder, call):
    code, out, _ = call("base.yaml", "--folds", "3", "--grid", "epochs=5,10", "--name", "cv")
    assert code == 0
    assert out.splitlines()[:2] == ["experiment  epochs  fold", "cv-01            5     0  new"]
    assert "Wrote 6 experiments" in out
    written = (folder / "cv-03.yaml").read_text()
    assert "folds: 3" in written
    assert "fold: 2" in written
    assert (
        "Wrote 0 experiments; 6 exist already."
        in call("base.yaml", "--folds", "3", "--grid", "epochs=5,10", "--name", "cv")[1]
    )


def test_more_folds_of_a_base_that_has_some_replace_these(folder, call):
    (folder.parent / "folded.yaml").write_text("task: regression\nsplits: {folds: 5, fold: 4}\n")
    assert call("folded.yaml", "--folds", "2")[0] == 0
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--folds", "3", "--grid", "folds=2,3"], "splits.folds is given by --folds 3 as well"),
        (["--folds", "3", "--grid", "fold=0,1"], "splits.fold is given twice"),
        (["--folds", "1"], "splits.folds: got 1; input should be greater than or equal to 2"),
    ],
)
def test_folds_that_make_no_sense_are_refused(folder, call, arguments, expected):
    code, _, err = call("base.yaml", *arguments)
    assert code != 0
    assert expected in " ".join(err.split())
    assert not folder.exists()


@pytest.mark.system
def test_a_sweep_tells_what_it_will_cost_where_its_base_has_run(folder, call):
    store = SpecFiles(folder, folder.parent / "storage")
    store.create({"task": "regression", "trained_model": {"train_params": {"epochs": 10}}}, "mine")
    assert "Cost" not in call("mine", "--grid", "epochs=20,40", "--dry-run")[1]
    run_all(store, "mine")
    code, out, _ = call("mine", "--grid", "epochs=20,40", "--dry-run")
    assert code == 0
    training, after = 6, 7 + 8  # made-up seconds; the data are shared
    assert f"Cost of the new ones, as far as that of mine tells: about {6 * training + 2 * after} s, CPU" in out
    call("mine", "--grid", "epochs=10,40")
    run_all(store, "mine-sweep-01")
    out = call("mine", "--grid", "epochs=10,40,80")[1]
    assert "Cost so far, shared results counted once: 36 s, CPU" in out


@pytest.mark.system
def test_damaged_records_of_costs_do_not_stop_a_sweep(folder, call):
    store = SpecFiles(folder, folder.parent / "storage")
    store.create({"task": "regression"}, "mine")
    for each in run_all(store, "mine"):
        for record in (store.root / ".costs").glob(f"{each.stage}/*.json"):
            record.write_text("{")
    for record in store.root.glob("experiments/*/results/*/cost.json"):
        record.write_text("{")
    code, out, _ = call("mine", "--grid", "epochs=20,40")
    assert code == 0
    assert "Wrote 2 experiments." in out
    assert "Cost of the new" not in out
