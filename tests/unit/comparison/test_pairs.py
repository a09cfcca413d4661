"""Two experiments beside each other: what is said of their difference."""

import polars as pl
import pytest

from assay.comparison.load import ComparisonData
from assay.comparison.pairs import MetricDifference, Pair, as_lines, compare_pair
from assay.errors import AssayError
from assay.spec.analysis import ResultAnalyzer
from tests.helpers.trained import FAMILIES, TINY, make_trained_project
from tests.unit.comparison.conftest import RATE, made_up_entry

ONE, OTHER = made_up_entry(0, 3, tested="t"), made_up_entry(1, 3, tested="t")


def pair(**changes):
    moved = pl.DataFrame(
        {
            "item": ["a", "b", "c"],
            "target": ["cat"] * 3,
            "first": ["dog", "dog", "cat"],
            "second": ["cat", "cat", "dog"],
        }
    ).with_columns(better=pl.Series(["second", "second", "first"]))
    fields = {
        "entries": (ONE, OTHER),
        "keys": {RATE: (1e-4, 1e-3)},
        "stages": {"trained_model": "its own keys"},
        "metrics": (MetricDifference("accuracy", (0.5, 0.6), 0.02, 0.18),),
        "moved": moved,
        "chance": 0.02,
        "explained": (),
    }
    return Pair(**(fields | changes))


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [
        ("accuracy", 0.1, 0.2, "second"),
        ("accuracy", -0.2, -0.1, "first"),
        ("mae", 0.1, 0.2, "first"),
        ("mae", -1, 1, ""),
    ],
)
def test_an_interval_without_zero_says_which_is_better(metric, low, high, verdict):
    assert MetricDifference(metric, (0, 0), low, high).verdict == verdict


def test_the_lines_say_which_is_better_by_how_much_why_and_where():
    lines = as_lines(pair(explained=(("lr-02", (RATE,), 0.55),)), "test")
    assert lines[0] == (
        "lr-01 is better: accuracy 0.500 and 0.600; 2 items only lr-01 has right, 1 only lr-00, p = 0.02."
    )
    text = "\n".join(lines)
    assert "accuracy  0.500  0.600  +0.1        [+0.02, +0.18]" in text
    assert f"{RATE}  0.0001  0.001" in text
    assert "Results that differ: trained_model (its own keys)" in text
    assert "Better in lr-01 (2 items):" in text
    assert f"In between: lr-02 differs from lr-00 only in {RATE}: 0.550" in text


def test_a_difference_that_chance_explains_is_called_so():
    lines = as_lines(pair(metrics=(MetricDifference("accuracy", (0.5, 0.6), -0.1, 0.3),)), "test")
    assert lines[0].startswith("Neither is surely better: accuracy 0.500 and 0.600, chance may explain it")


def test_numbers_about_different_items_are_not_compared():
    lines = as_lines(pair(metrics=(), moved=pl.DataFrame(), chance=None), "test")
    assert lines[0] == "lr-00 and lr-01 were tested on different items of test: their numbers can't be compared."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "regression"}, "lr-00 is classification and lr-01 is regression"),
        ({"scores": {}}, "lr-01: no results"),
    ],
)
def test_what_can_not_be_compared_is_refused(changes, message, tmp_path):
    other = made_up_entry(1, 3, **changes)
    data = ComparisonData("test", (ONE, other), pl.DataFrame())
    with pytest.raises(AssayError, match=message):
        compare_pair(tmp_path, data, "lr-00", "lr-01")


def test_few_items_call_neither_experiment_better():
    found = pair(metrics=(MetricDifference("accuracy", (0.0, 1.0), float("nan"), float("nan")),), tested=3)
    assert as_lines(found, "test")[0].startswith(
        "Too few items of test to tell which is better (3 of 40): accuracy 0.000 and 1.000; 2 items only lr-01"
    )


@pytest.mark.parametrize(
    ("metric", "chance", "better"),
    [("accuracy", 0.125, ""), ("accuracy", 0.03, "second"), ("exact_match", 0.125, ""), ("macro_f1", 0.125, "second")],
)
def test_an_interval_of_few_mistakes_needs_the_exact_test_to_agree(metric, chance, better):
    assert pair(metrics=(MetricDifference(metric, (0.9, 0.95), 0.01, 0.1),), chance=chance).better == better


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, families = tmp_path_factory.mktemp("pairs"), {}
    for name in ("table", "softmax", "multilabel", "segmentation", "detection"):
        learned = FAMILIES[name]["trained_model"]
        quick = {**learned, "train_params": {**learned["train_params"], **TINY}}
        families[name] = {**FAMILIES[name], "trained_model": quick}
    return make_trained_project(folder, families)


@pytest.mark.system
@pytest.mark.parametrize("name", ["table", "softmax", "multilabel", "segmentation", "detection"])
def test_experiments_of_every_task_have_metrics_beside_each_other(trained, name):
    task = trained.specs.load(name).learning
    entry = made_up_entry(0, 1, experiment_id=name, task=task, tested="t")
    found = compare_pair(trained.storage, ComparisonData("test", (entry,), pl.DataFrame()), name, name)
    assert [each.name for each in found.metrics][:1] == [*ResultAnalyzer().metrics_for(task)][:1]
    assert all(each.values[0] == each.values[1] for each in found.metrics if each.values[0] == each.values[0])
    assert len(found.moved) == 0
    assert 0 < found.tested < 40
    assert as_lines(found, "test")[0] == f"{name} and {name} are the same experiment."
