"""The key ``board``: what it may be, what it resolves to, and that no result depends on it."""

import pytest

from assay.errors import SpecError
from assay.metrics.registry import BUILT_IN_METRICS
from assay.pipeline import STAGES, digest_of, needed_stages, stage_config
from assay.spec.analysis import OF_EACH_CLASS
from assay.spec.loading import json_schema, spec_from


def spec_on(board, task="classification", **keys):
    return spec_from({"task": task, "board": board, **keys}, "x.yaml")


def test_the_metrics_of_each_class_are_those_of_the_registry():
    of_each = {name for metrics in BUILT_IN_METRICS.values() for name, each in metrics.items() if each.per_class}
    assert set(OF_EACH_CLASS) == of_each


@pytest.mark.parametrize(
    ("board", "keys", "resolved"),
    [
        ("flowers", {}, ("flowers", "accuracy", "test")),
        ({"name": "flowers", "metric": "log_loss"}, {}, ("flowers", "log_loss", "test")),
        ("houses", {"task": "regression"}, ("houses", "mae", "test")),
        ("flowers", {"predictions": {"datasets": ["validation"]}}, ("flowers", "accuracy", "validation")),
        (
            "flowers",
            {"analysis": {"result_analyzer": {"metrics": ["f1", "log_loss"]}}},
            ("flowers", "log_loss", "test"),
        ),
    ],
)
def test_what_decides_is_filled_in(board, keys, resolved):
    spec = spec_on(board, **keys)
    assert (spec.board.name, spec.board.metric, spec.board.subset) == resolved
    assert spec_from(spec.as_dict(), "again") == spec


@pytest.mark.parametrize(
    ("board", "keys", "problem"),
    [
        ("Main X", {}, "x.yaml: board.name: got 'Main X'; expected 1 to 63 characters .*; nearest valid: 'main-x'"),
        ("../x", {}, "x.yaml: board.name: got '../x'; .*nearest valid: 'x'"),
        ({}, {}, "x.yaml: board.name: is missing"),
        ({"name": "a", "nam": "a"}, {}, "board.nam: unknown key. Did you mean 'name'?"),
        (
            {"name": "a", "metric": "accurcy"},
            {},
            "board.metric: Metric 'accurcy' does not exist. Did you mean 'accuracy'?",
        ),
        ({"name": "a", "metric": "f1"}, {}, "board.metric is f1, which has one value per class; expected accuracy or "),
        ({"name": "a", "metric": "mae"}, {}, "board.metric is mae, but analysis.*; expected accuracy or "),
        (
            {"name": "a", "metric": "macro_f1"},
            {"analysis": {"result_analyzer": {"metrics": ["accuracy"]}}},
            "board.metric is macro_f1, but analysis.result_analyzer.metrics are accuracy; add it there",
        ),
        ({"name": "a", "subset": "tset"}, {}, "board.subset is 'tset', but predictions.datasets are validation, test"),
    ],
)
def test_what_can_not_be_is_one_line(board, keys, problem):
    with pytest.raises(SpecError, match=problem.replace("?", r"\?")) as caught:
        spec_on(board, **keys)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("task", ["regression", "classification", "segmentation", "detection"])
def test_no_result_depends_on_it_and_specs_without_it_are_as_they_were(task):
    plain, on_board = spec_from({"task": task}, "x"), spec_on("b", task)
    assert "board" not in plain.as_dict()
    assert digest_of(plain.as_dict()) != digest_of(on_board.as_dict())
    for stage in (*STAGES, "exptests"):
        assert stage_config(plain, "x", stage).digest == stage_config(on_board, "x", stage).digest
    assert needed_stages(plain) == needed_stages(on_board)


def test_editors_know_its_keys():
    schema = json_schema()
    assert set(schema["$defs"]["Board"]["properties"]) == {"name", "metric", "subset"}
    assert "board" in schema["properties"]
