"""A benchmark that misses its target, or crashes, can't be overlooked."""

import json
import os

import pytest

from benchmarks.page import FOLDER, Figures, table
from benchmarks.rows import Row, at_least, at_most, missed
from benchmarks.run import BENCHMARKS, main, run_all

MODULES = {
    "good": "from benchmarks.rows import Row, at_most\ndef run(quick): return [Row('fine', 1.0, target=at_most(2.0))]",
    "slow": "from benchmarks.rows import Row, at_most\ndef run(quick): return [Row('slow', 9.0, 'MB', at_most(2.0))]",
    "disturbed": """
from pathlib import Path
from benchmarks.rows import Row, at_most
def run(quick):
    mark = Path(__file__).with_suffix(".mark")
    values = (1.0, 9.0) if mark.exists() else (9.0, 1.0)
    mark.touch()
    return [Row(name, value, 'MB', at_most(2.0)) for name, value in zip(('one', 'other'), values, strict=True)]
""",
    "broken": "def run(quick): raise RuntimeError('no such thing')",
    "killed": "import os, signal\ndef run(quick): os.kill(os.getpid(), signal.SIGKILL)",
    "small": "def run(quick):\n    assert quick\n    return []",
}


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Give ``run(*names, quick)``: runs small benchmarks of these names, returns the exit code and what was printed."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}_benchmark.py").write_text(text)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))

    def run(*names, quick=False):
        code = run_all(names, quick, {name: f"{name}_benchmark" for name in MODULES}, tmp_path)
        return code, capfd.readouterr().out

    return run


@pytest.mark.system
def test_targets_that_are_reached_are_success_and_figures_are_kept(run, tmp_path):
    code, printed = run("good")
    assert code == 0
    assert "every target is reached" in printed
    figures = Figures.of(json.loads((tmp_path / "results" / "good.json").read_text()))
    assert figures.rows == [Row("fine", 1.0, target=at_most(2.0))]
    assert figures.machine_factor > 0
    assert "| fine | 1 | s | <= 2 |" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.system
def test_a_missed_target_fails_and_is_listed_at_the_end(run, tmp_path):
    code, printed = run("slow", "good")
    assert code == 1
    assert printed.rstrip().endswith("Missed:\nslow: slow: 9 MB, wanted <= 2")
    assert "| <= 2 **missed** |" in (tmp_path / "RESULTS.md").read_text()


@pytest.mark.system
def test_a_row_is_missed_only_when_it_misses_twice(run, tmp_path):
    code, printed = run("disturbed")
    assert code == 0
    assert printed.count("**missed**") == 2
    figures = Figures.of(json.loads((tmp_path / "results" / "disturbed.json").read_text()))
    assert [(row.value, row.note) for row in figures.rows] == [(1.0, ""), (1.0, "in the first of two runs")]


@pytest.mark.system
def test_a_crash_fails_and_is_listed_and_the_others_still_run(run, tmp_path):
    code, printed = run("broken", "good")
    assert code == 1
    assert printed.rstrip().endswith("Missed:\nbroken: crashed with exit code 1; its output is above")
    assert "| fine | 1 |" in printed
    assert not (tmp_path / "results" / "broken.json").exists()


@pytest.mark.system
def test_small_sizes_are_neither_judged_nor_kept_but_crash_like_large_ones(run, tmp_path):
    code, printed = run("slow", "killed", "small", quick=True)
    assert code == 1
    assert printed.rstrip().endswith("Missed:\nkilled: crashed with exit code -9; its output is above")
    assert "<=" not in printed
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "RESULTS.md").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--from", "locks"], ["locks", "dashboard", "inference", "own_code"]), (["runs"], ["runs"])],
)
def test_measuring_goes_on_by_name(monkeypatch, arguments, expected):
    asked = []
    monkeypatch.setattr("benchmarks.run.run_all", lambda names, quick: asked.extend(names) or 0)
    assert main(arguments) == 0
    assert asked == expected


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "no benchmark is named speed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "is_missed"),
    [
        (Row("r", 2.0), False),
        (Row("r", 2.0, target=at_most(2.0)), False),
        (Row("r", 2.1, target=at_most(2.0)), True),
        (Row("r", 2.0, "x", at_least(2.0)), False),
        (Row("r", 1.9, "x", at_least(2.0)), True),
        (Row("r", float("nan"), target=at_most(2.0)), True),
        (Row("r", 3.0, target=at_most(1.5, of="floor"), floor=2.0), False),
        (Row("r", 3.1, target=at_most(1.5, of="floor"), floor=2.0), True),
        (Row("r", 0.9, "1/s", at_least(0.5, of="floor"), 2.0), True),
    ],
)
def test_a_value_may_equal_its_target_but_not_be_worse(row, is_missed):
    assert missed([row]) == ([row] if is_missed else [])


def test_a_slower_machine_may_take_longer():
    row = Row("r", 3.0, target=at_most(2.0, of="machine"))
    assert missed([row], 1.0) == [row]
    assert missed([row], 1.5) == []
    assert row.target_text(1.5) == "<= 3 (2 x 1.50 for this machine)"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"target": at_most(2.0, of="floor")}, "has none"),
        ({"target": at_most(2.0, of="machine"), "unit": "MB"}, "in seconds"),
        ({"target": at_most(2.0), "measured_on": "another day"}, "another day"),
    ],
)
def test_a_target_that_can_not_be_judged_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Row("r", 1.0, **keys)


def test_a_figure_of_another_day_says_so_in_its_row():
    assert "| another day |" in table([Row("theirs", 250.0, measured_on="another day")])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_kept_can_be_read_and_has_one_row_per_name(name):
    path = FOLDER / "results" / f"{name}.json"
    if path.exists():
        names = [row.benchmark for row in Figures.of(json.loads(path.read_text())).rows]
        assert len(names) == len(set(names))
