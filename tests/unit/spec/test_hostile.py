"""Spec files that nobody should be able to stop anything with: one error, in time, within memory."""

import pytest

from assay.errors import SpecError, printable
from assay.spec.loading import spec_from
from assay.spec.yaml_text import MOST_DEPTH, MOST_NODES, read_mapping, read_value, to_yaml
from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.hostile_specs import CASES, MOST_MB, try_loading
from tests.campaigns.mutated_specs import try_mutation


def problem(values):
    with pytest.raises(SpecError) as caught:
        spec_from(values, "experiments/ab12.yaml")
    return str(caught.value)


@pytest.mark.system
def test_every_hostile_file_is_one_error_within_bounded_memory():
    quick = [seed for seed, case in enumerate(CASES) if "0,000" not in case.kind or "brackets" in case.kind]
    outcomes = try_seeds(try_loading, quick, most_mb=MOST_MB)  # the system tests read all of them
    assert len(outcomes) > 100
    assert failures(outcomes) == []


@pytest.mark.system
def test_damaged_examples_are_errors_or_still_valid():
    outcomes = try_seeds(try_mutation, range(200), most_mb=MOST_MB)
    assert failures(outcomes) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, text) for text in ("yes", "no", "on", "off", "Yes", "NO", "y", "n")),
        *((text, text) for text in ("010", "089", "1:30", "1:30.5", "2024-01-01", "2024-99-99", "=", "0o17", "e5")),
        *(("true", True), ("False", False), ("null", None), ("~", None), ("0", 0), ("-3", -3), ("+4", 4)),
        *(("0x1F", 31), ("1_000", 1000), ("64.0", 64.0), ("1e-3", 1e-3), (".5", 0.5), ("5.", 5.0), ("1.5e+3", 1500.0)),
    ],
)
def test_scalars_are_read_as_in_yaml_1_2(text, value):
    found = read_value(text)
    assert (found, type(found)) == (value, type(value))
    assert read_mapping(to_yaml({"a": value}), "x") == {"a": value}


@pytest.mark.parametrize(
    "text", ["1e-3", "1e5", "no", "010", "1:30", "2024-01-01", "null", "<<", "0x1F", "1_000", "=", ""]
)
def test_texts_that_look_like_something_else_survive_the_file(text):
    assert read_mapping(to_yaml({"a": text}), "x") == {"a": text}


def test_digits_that_no_key_takes_are_no_number():
    assert read_value("1" * 5000) == "1" * 5000


def test_keys_of_another_section_are_merged():
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert read_mapping(text, "x")["more"] == {"a": 1, "b": 3}


def test_aliases_that_repeat_little_are_read():
    assert read_value("[&a [x, y], *a, *a]") == [["x", "y"]] * 3


@pytest.mark.system
def test_the_limits_are_those_of_the_text():
    deepest = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert read_value(deepest) is not None
    with pytest.raises(SpecError, match="inside each other"):
        read_value(f"[{deepest}]")
    read_value(f"[{'a,' * (MOST_NODES - 2)}]")
    with pytest.raises(SpecError, match="keys and values"):
        read_value(f"[{'a,' * MOST_NODES}]")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ({"lr": 1}, "Did you mean trained_model.learner.learning_rate?"),
        ({"epochs": 1}, "epochs: unknown key. It belongs to trained_model.train_params.epochs."),
        ({"trained_model": {"train_params": {"lr": 1}}}, "Did you mean trained_model.learner.learning_rate?"),
        ({"trained_model": {"learner": {"lr": 1}}}, "Did you mean 'learning_rate'?"),
        ({"trained_model": {"learner": {"epohcs": 1}}}, "Did you mean trained_model.train_params.epochs?"),
        ({"generated_images": {"source": {"kind": "coco", "path": "a", "target_column": "y"}}}, "for kind table."),
        ({"zzzzzz": 1}, "zzzzzz: unknown key. Valid keys here: analysis"),
    ],
)
def test_an_unknown_key_gets_its_place_or_what_may_be_meant(key, expected):
    assert expected in problem({"task": "regression", **key})


def test_overrides_from_elsewhere_have_the_same_limits():
    deep: dict[str, object] = {}
    for _ in range(5000):
        deep = {"a": deep}
    circle: dict[str, object] = {}
    circle["a"] = circle
    for values in (deep, circle):
        assert "inside each other" in problem({"task": "regression", "tags": values})
    assert "more than 200,000 values" in problem({"task": "regression", "remove_key_list": ["a"] * 300_000})
    assert "half of a character" in problem({"task": "regression", "name": "a\ud800"})
    assert "hundreds of digits" in problem({"task": "regression", "seed": 10**5000})


def test_what_a_section_of_a_package_raises_is_an_error_of_the_spec(install_package):
    install_package("assay.tests", "odd", "odd_tests:TEST", odd_tests=ODD)
    message = problem({"task": "regression", "exptests": {"tests": [{"kind": "odd"}]}})
    assert message.startswith("experiments/ab12.yaml: can't be checked: ZeroDivisionError")


ODD = """
from pydantic import model_validator
from assay.spec.exptests import TestKind, TestSection

class OddTest(TestSection):
    @model_validator(mode="before")
    @classmethod
    def divide(cls, values):
        return 1 / 0

TEST = TestKind(OddTest, print)
"""


def test_messages_hold_nothing_that_acts_on_a_terminal():
    message = problem({"task": "regression", "\x1b[2J\x07": 1, "a\nb": 2})
    assert message == printable(message)
    assert "\\x1b[2J" in message
    assert len(message.splitlines()) == 2
