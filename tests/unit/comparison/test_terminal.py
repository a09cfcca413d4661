"""A comparison in the terminal: what tells most is shown where there is little room."""

import pytest

from assay.comparison.load import ExperimentCost
from assay.comparison.ranking import rank
from assay.comparison.terminal import as_text

WIDE = 500


def lines(collection, width=WIDE, costs=False):
    (ranking,) = rank(collection)
    return as_text(ranking, "test", width, costs)


def test_the_table_is_best_first_with_interval_and_differing_keys(compare):
    title, header, first, *_ = lines(compare(3))
    assert title == "classification: accuracy on test, higher is better"
    assert header.split() == ["experiment", "accuracy", "learning_rate", "kind", "log_loss", "trained", "epochs"]
    assert first.split() == ["1", "lr-02", "0.800", "[0.760,", "0.840]", "0.01", "cnn", "0.460", "20"]


def test_columns_beyond_the_width_are_named_instead(compare):
    found = lines(compare(3), 60)
    assert max(len(line) for line in found[1:5]) <= 60
    assert "Left out for want of width: log_loss, trained epochs." in found


def test_experiments_without_results_say_what_to_do_and_many_are_counted(compare, entry):
    waiting = [entry(number, scores={}, note=f"no results yet: assay run {number}") for number in range(15)]
    found = lines(compare(0, *waiting))
    assert found[:3] == ["classification", "Without results: 15", "  lr-00: no results yet: assay run 0"]
    assert found[-1] == "  … and 5 more"


def test_a_value_that_is_long_is_cut_and_one_that_is_not_there_is_a_dash(compare, entry):
    long = {"trained_model.data_description.classes": ["a class"] * 20}
    found = lines(compare(0, entry(0, keys=long), entry(1)))
    assert any("…" in line for line in found)
    assert any(" - " in line for line in found)


@pytest.mark.parametrize("gpu_s", [0.0, 7.0])
def test_costs_are_columns_beside_the_metric_when_asked_for(compare, entry, gpu_s):
    known = ExperimentCost(12.34, 23.4, gpu_s, 812.4, 4_200_000)
    collection = compare(0, entry(0, cost=known), entry(1, cost=ExperimentCost()))
    header, unknown, measured = (line.split() for line in lines(collection, costs=True)[1:4])
    names = ["wall_s", "cpu_s", *(["gpu_s"] if gpu_s else []), "peak_memory_mb", "size_mb"]
    assert header[:2] == ["experiment", "accuracy"]
    assert header[2 : 2 + len(names)] == names
    gpu = ["7.000"] if gpu_s else []
    assert measured[5 : 5 + len(names)] == ["12.34", "23.4", *gpu, "812.4", "4.200"]
    assert unknown[5 : 5 + len(names)] == ["-"] * len(names)
    assert "wall_s" not in lines(collection)[1]


def test_costs_that_do_not_fit_are_named(compare, entry):
    cost = ExperimentCost(12.34, 23.4, 0.0, 812.4, 4_200_000)
    found = lines(compare(0, *(entry(number, cost=cost) for number in range(2))), 60, costs=True)
    assert max(len(line) for line in found[1:4]) <= 60
    assert any(line.startswith("Left out for want of width: ") and "size_mb" in line for line in found)
