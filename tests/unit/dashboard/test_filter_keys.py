"""Keys to filter by: those that differ, under short names, with values in the order that people expect."""

import pytest

from assay.dashboard.filters import choice_of, key_from_label, key_to_label, offered_keys
from tests.helpers.dashboard_cases import RATE, experiment


def with_values(*values):
    return [experiment(f"x{place}", keys={"some.key": value}) for place, value in enumerate(values)]


def test_keys_that_differ_and_all_tags_are_offered_under_short_names():
    experiments = [experiment("a", 0.1, tags={"owner": "mia"}), experiment("b", 0.2, tags={"owner": "mia"})]
    assert offered_keys(experiments) == {"tags.owner": "owner", RATE: "learning_rate"}
    assert offered_keys(experiments[:1]) == {"tags.owner": "owner"}
    assert offered_keys([]) == {}


def test_a_chosen_key_is_still_offered_when_it_does_not_differ_any_more():
    experiments = [experiment("a"), experiment("b")]
    assert offered_keys(experiments) == {}
    assert offered_keys(experiments, [RATE, "gone"]) == {RATE: "learning_rate"}


@pytest.mark.parametrize(
    ("values", "texts", "numbers"),
    [
        ((0.1, 1e-05, 2), ["1e-05", "0.1", "2"], []),
        ((10, 9, 9), ["9", "10"], []),
        (("b10", "b9", [1]), ["[1]", "b9", "b10"], []),
        ((True, False), ["false", "true"], []),
        ((True, 1), ["1", "true"], []),
        (range(8), list("01234567"), []),
        (range(9), list("012345678"), list(range(9))),
    ],
)
def test_few_values_are_chosen_one_by_one_and_many_numbers_by_a_range(values, texts, numbers):
    choice = choice_of("some.key", with_values(*values))
    assert (list(choice.values), list(choice.numbers)) == (texts, numbers)


def test_a_key_that_some_lack_can_be_chosen_by_that():
    assert choice_of("some.key", [*with_values(1, 2), experiment("without")]).values == ["1", "2", "–"]


@pytest.mark.parametrize(("key", "words"), [(RATE, "learning_rate in trained_model.learner"), ("seed", "seed")])
def test_a_key_is_found_by_its_last_part(key, words):
    assert key_to_label(key) == words
    assert key_from_label(words) == key
