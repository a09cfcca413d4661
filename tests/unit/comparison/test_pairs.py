"""Two experiments beside each other: what is said of their difference."""

from dataclasses import replace

import polars as pl
import pytest

from assay.comparison.explanations import as_lines
from assay.comparison.load import ComparisonData, Entry
from assay.comparison.pairs import ExplainedStep, MetricDifference, Pair, compare_pair, with_sure_order
from assay.comparison.ranking import rank
from assay.comparison.terminal import verdict_on_best
from assay.errors import AssayError
from assay.experiments.contents import stage_results
from assay.spec.analysis import ResultAnalyzer
from assay.spec.yaml_text import flatten
from tests.helpers.trained import FAMILIES, TINY, make_trained_project
from tests.unit.comparison.conftest import RATE, made_up_entry, made_up_score

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


def step(name, low, high, **keys):
    return ExplainedStep(name, keys, MetricDifference("accuracy", (0.5, 0.5 + (low + high) / 2), low, high))


def test_a_difference_is_explained_step_by_step_along_the_experiments_in_between():
    steps = (step("lr-02", 0.04, 0.08, rate=(0.1, 0.2)), step("lr-01", -0.01, 0.09, epochs=(5, 10), width=(8, 16)))
    between = (("lr-02", ("rate",), 0.56), ("lr-09", ("epochs",), 0.51))
    lines = as_lines(pair(steps=steps, explained=between), "test")
    start = lines.index("The difference of accuracy, +0.1, is explained, in this order, by:")
    assert [line.split() for line in lines[start + 2 : start + 4]] == [
        ["rate", "0.1", "0.2", "+0.06", "[+0.04,", "+0.08]", "lr-02"],
        ["epochs,", "width", "5,", "8", "10,", "16", "+0.04", "[-0.01,", "+0.09]", "lr-01"],
    ]
    assert lines[start + 4] == "In between: lr-09 differs from lr-00 only in epochs: 0.510"
    assert len(lines) == start + 5


@pytest.mark.parametrize(
    ("keys", "stages", "sentence"),
    [
        ({RATE: (1, 2)}, {"trained_model": "its own keys"}, f"The difference is explained by {RATE}: nothing else"),
        (
            {RATE: (1e-4, 1e-3), "b": (1, 2)},
            {"trained_model": "its own keys"},
            "Which of the 2 keys explains it can't be told, because no stored experiment lies in between. Such as: "
            f"assay sweep lr-00 --grid {RATE}=0.001",
        ),
        ({"x": (None, ["a", "b"]), "y": (1, 2)}, {}, """assay sweep lr-00 --grid 'x=[["a", "b"]]'"""),
        (
            {"m.kind": ("a", "b"), "m.leaves": (31, None)},
            {},
            "The difference is explained by m.kind: nothing else differs.",
        ),
        (
            {"m.width": (8, None), "m.kind": ("a", "b"), RATE: (1, 2)},
            {},
            "Which of the 2 keys explains it can't be told, because no stored experiment lies in between. Such as: "
            "assay sweep lr-00 --grid m.kind=b",
        ),
        ({"seed": (1, 2), "splits.seed": (1, 3)}, {"trained_model": "its own keys"}, "Only the seed differs"),
        ({}, {"splits": "the data themselves"}, "No key differs: the difference is explained by the data themselves."),
        ({RATE: (1, 2)}, {"splits": "code version 1 and 2"}, "it may be explained by code version 1 and 2."),
    ],
)
def test_what_explains_a_difference_without_experiments_in_between(keys, stages, sentence):
    assert sentence in "\n".join(as_lines(pair(keys=keys, stages=stages), "test"))


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
def varied(tmp_path_factory):
    """Three experiments of one table, each with one changed key more than the one before."""
    folder, learned = tmp_path_factory.mktemp("varied"), FAMILIES["table"]["trained_model"]
    steps = {"slow": {}, "fast": {"learner": {"learning_rate": 0.05}}}
    steps["long"] = {**steps["fast"], "train_params": {**TINY, "epochs": 30}}
    families = {name: {**FAMILIES["table"], "trained_model": {**learned, **keys}} for name, keys in steps.items()}
    families = {name: {**values, "splits": {"set_infos": HALVES}} for name, values in families.items()}
    project = make_trained_project(folder, families)
    entries = []
    for name in families:
        value = stage_results(project.storage, name)["analysis"].report["metrics"]["test"]["mae"]["value"]
        keys = flatten(project.specs.load(name).as_dict())
        scores = {"mae": made_up_score(value)}
        entries.append(Entry(name, "regression", "", None, keys, scores, tested="t"))
    return project, ComparisonData("test", tuple(entries), pl.DataFrame())


HALVES = [
    {"set_name": name, "probability": share} for name, share in (("train", 0.4), ("validation", 0.1), ("test", 0.5))
]


@pytest.mark.system
def test_the_steps_of_stored_experiments_add_up_to_the_difference(varied):
    project, data = varied
    found = compare_pair(project.storage, data, "slow", "long")
    assert [(each.experiment_id, list(each.keys)) for each in found.steps] == [
        ("fast", ["trained_model.learner.learning_rate"]),
        ("long", ["trained_model.train_params.epochs"]),
    ]
    changes = [each.difference.values[1] - each.difference.values[0] for each in found.steps]
    total = found.metrics[0].values[1] - found.metrics[0].values[0]
    assert sum(changes) == pytest.approx(total)
    assert compare_pair(project.storage, data, "slow", "fast").steps == ()
    assert "is explained, in this order, by:" in "\n".join(as_lines(found, "test"))


@pytest.mark.system
def test_a_ranking_and_a_pair_say_the_same_of_which_is_better(varied):
    project, data = varied
    (ranking,) = rank(data)
    sure = with_sure_order(project.storage, ranking, "test")
    best = ranking.ranked[0].experiment_id
    others = {entry.experiment_id for entry in ranking.ranked[1:]}
    assert sure.surely_worse.keys() == others
    for name, is_worse in sure.surely_worse.items():
        assert (compare_pair(project.storage, data, best, name).better == "first") == is_worse
    assert ("It is surely better than" in verdict_on_best(sure)) == all(sure.surely_worse.values())
    gone = ComparisonData("test", (replace(data.entries[0], experiment_id="gone"), *data.entries[1:]), pl.DataFrame())
    assert rank(gone)[0].surely_worse == {}
    assert with_sure_order(project.storage, ranking, "test", most_elements=1000).surely_worse == {}
    assert "gone" not in with_sure_order(project.storage, rank(gone)[0], "test").surely_worse


@pytest.mark.system
@pytest.mark.parametrize("name", ["table", "softmax", "multilabel", "segmentation", "detection"])
def test_experiments_of_every_task_have_metrics_beside_each_other(trained_families, name):
    task = trained_families.specs.load(name).learning
    entry = made_up_entry(0, 1, experiment_id=name, task=task, tested="t")
    found = compare_pair(trained_families.storage, ComparisonData("test", (entry,), pl.DataFrame()), name, name)
    assert [each.name for each in found.metrics][:1] == [*ResultAnalyzer().metrics_for(task)][:1]
    assert all(each.values[0] == each.values[1] for each in found.metrics if each.values[0] == each.values[0])
    assert len(found.moved) == 0
    assert 0 < found.tested < 40
    assert as_lines(found, "test")[0] == f"{name} and {name} are the same experiment."
