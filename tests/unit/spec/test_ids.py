"""IDs: what is valid, what is suggested instead, and that invented ones never collide."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import IdError
from assay.spec.ids import ID_PATTERN, RESERVED_IDS, invent_id, new_run_id, suggest_id, validate_id


@pytest.mark.parametrize("text", ["a", "ab12", "0", "digits-softmax_2", "a" * 63])
def test_valid_ids_are_returned_unchanged(text):
    assert validate_id(text) == text


@pytest.mark.parametrize(
    "text", ["", "../x", "a b", "A", "a" * 300, "-a", "a/b", "a\n", "a'; drop table x", "ä", "a\x00", "a.b"]
)
def test_ids_that_could_leave_their_folder_or_query_are_refused(text):
    with pytest.raises(IdError, match="not valid: expected 1 to 63"):
        validate_id(text)


@pytest.mark.parametrize("text", sorted(RESERVED_IDS))
def test_reserved_names_are_refused_with_a_suggestion(text):
    with pytest.raises(IdError, match=f"{text}-1"):
        validate_id(text)


@given(st.text())
def test_every_suggestion_is_valid(text):
    assert validate_id(suggest_id(text))


def test_a_long_id_is_not_repeated_in_full():
    with pytest.raises(IdError) as caught:
        validate_id("x" * 5000)
    assert len(str(caught.value)) < 400


@pytest.mark.defect("B11")
def test_invented_ids_are_unique_by_construction():
    taken: set[str] = set()
    for _ in range(2_000):
        new = invent_id(taken)
        assert new not in taken
        assert ID_PATTERN.fullmatch(new)
        taken.add(new)


@pytest.mark.defect("B11")
def test_an_id_that_is_drawn_again_is_not_given_again():
    drawn = iter("aaaa" + "aaab" + "aaac")
    assert invent_id({"aaaa", "aaab"}, lambda _: next(drawn)) == "aaac"


@pytest.mark.defect("B11")
@pytest.mark.system
def test_ids_grow_when_the_space_fills():
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    quarter = {a + b + c + d for a in digits[:9] for b in digits for c in digits for d in digits}
    assert len(invent_id(quarter)) == 5


@pytest.mark.defect("B12")
def test_run_ids_of_one_instant_differ_and_are_utc():
    instant = datetime(2026, 7, 1, 17, 36, tzinfo=timezone(timedelta(hours=-5)))
    assert new_run_id(instant).startswith("2026-07-01T22.36.00.000000Z-")
    assert len({new_run_id(instant) for _ in range(2000)}) == 2000


@pytest.mark.defect("B12")
def test_run_ids_sort_by_time():
    early = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [early + timedelta(microseconds=n * 977) for n in range(100)]
    ids = [new_run_id(moment) for moment in moments]
    assert ids == sorted(ids)
