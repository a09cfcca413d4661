"""The score card counts what it says, and fails when a target is missed."""

import ast

import pytest

from tests import score_card
from tests.score_card import Score, as_text, body_line_count, is_asset, line_count, parameter_count, percentile

SOURCE = '''
@dg.asset(key="x")
def made(context, *, spec: int = 1, **keys):
    """What it is.

    More.
    """
    value = 1

    return value


@property
def method(self, one): return one
'''
MADE, METHOD = ast.parse(SOURCE).body


def test_docstrings_and_decorators_are_no_lines_of_a_function():
    assert (line_count(MADE), body_line_count(MADE)) == (4, 3)
    assert (line_count(METHOD), body_line_count(METHOD)) == (1, 1)


def test_parameters_are_what_a_caller_gives():
    assert (parameter_count(MADE), parameter_count(METHOD)) == (3, 1)


def test_an_asset_is_known_by_its_decorator():
    assert (is_asset(MADE), is_asset(METHOD)) == (True, False)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.75, 3), (0.9, 9), (0.0, 1)])
def test_a_percentile_is_a_value_that_occurs(share, expected):
    assert percentile([9, 1, 3, 2], share) == expected
    assert percentile([], share) == 0


@pytest.mark.parametrize(("score", "met"), [(Score("x", 79, 80, 150), 0), (Score("x", 5, most=5), 1)])
def test_a_score_is_met_within_its_target(score, met):
    assert score.is_met == met
    assert as_text([score]).startswith("✗") != met


@pytest.mark.parametrize(("value", "code"), [(2, 0), (3, 1)])
def test_the_card_fails_when_a_target_is_missed(value, code):
    printed = []
    card = [Score("circles", value, most=2)]
    assert score_card.main(printed.append, card) == code
    assert f"{code} of 1 miss their target" in printed[0]


def test_the_parameters_of_an_asset_are_not_counted(tmp_path):
    path = tmp_path / "source.py"
    path.write_text(SOURCE)
    values = {score.what: score.value for score in score_card._of_functions([path])}
    assert values["parameters of a function, without assets, most"] == parameter_count(METHOD) == 1
    assert values["lines of a function, most"] == line_count(MADE)
