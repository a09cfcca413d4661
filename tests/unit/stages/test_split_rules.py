"""The quota rule by itself: exact, stable, independent of order."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.stages.split_rules import Group, assign

SHARES = {"train": Fraction(7, 10), "validation": Fraction(1, 10), "test": Fraction(2, 10)}
NAMES = st.sets(st.text(max_size=8), max_size=80)


def divide(names, seed=42, shares=SHARES):
    return assign([Group(name, 1) for name in names], shares, seed)


@pytest.mark.defect("C3")
@given(NAMES, st.integers(0, 2**63 - 1))
@settings(max_examples=50)
def test_every_share_is_exact_to_less_than_one_item(names, seed):
    counts = Counter(divide(names, seed).values())
    assert counts.total() == len(names)
    for subset, share in SHARES.items():
        assert abs(counts[subset] - share * len(names)) < 1


@pytest.mark.defect("C3")
@pytest.mark.parametrize("count", range(10, 60))
def test_no_subset_is_empty_once_its_share_is_one_item(count):
    assert set(divide([f"{index}.png" for index in range(count)]).values()) == set(SHARES)


@pytest.mark.defect("C3")
def test_a_hundred_items_are_divided_exactly():
    counts = Counter(divide([f"IMG_{index:04d}.png" for index in range(100)]).values())
    assert counts == {"train": 70, "validation": 10, "test": 20}


@given(NAMES)
@settings(max_examples=30)
def test_the_order_in_which_items_are_found_does_not_matter(names):
    assert divide(sorted(names)) == divide(sorted(names, reverse=True))


@given(NAMES, NAMES, st.integers(0, 5))
@settings(max_examples=50)
def test_adding_k_items_moves_at_most_k_old_ones_across_each_cut(old, new, seed):
    before, after = divide(old, seed), divide(old | new, seed)
    added = len(old | new) - len(old)
    moved = [name for name in old if before[name] != after[name]]
    assert len(moved) <= added * (len(SHARES) - 1)


def test_one_more_item_among_thousands_moves_almost_nothing():
    names = [f"{index}.png" for index in range(5000)]
    before, after = divide(names), divide([*names, "new.png"])
    assert sum(before[name] != after[name] for name in names) <= 2


def test_another_seed_is_another_division():
    names = [f"{index}.png" for index in range(100)]
    assert divide(names, 1) != divide(names, 2)
    assert divide(names, 1) == divide(names, 1)


@given(st.dictionaries(st.text(max_size=5), st.integers(4, 9), min_size=3, max_size=20))
@settings(max_examples=40)
def test_large_groups_leave_no_subset_empty_whose_share_is_an_item(sizes):
    subsets = assign([Group(name, size) for name, size in sizes.items()], SHARES, 0)
    assert set(subsets.values()) == set(SHARES)


@given(st.dictionaries(st.text(max_size=5), st.integers(1, 9), min_size=1, max_size=40))
@settings(max_examples=40)
def test_groups_are_off_by_at_most_two_of_the_largest(sizes):
    groups = [Group(name, size) for name, size in sizes.items()]
    subsets = assign(groups, SHARES, 0)
    total, largest = sum(sizes.values()), max(sizes.values())
    for subset, share in SHARES.items():
        got = sum(size for name, size in sizes.items() if subsets[name] == subset)
        assert abs(got - share * total) <= 2 * largest


def test_stratified_shares_are_exact_in_every_class_and_close_in_all():
    groups = [Group(f"{label}/{index}", 1, label) for label in "abcdefghij" for index in range(14)]
    subsets = assign(groups, SHARES, 3)
    for label in "abcdefghij":
        counts = Counter(subset for name, subset in subsets.items() if name.startswith(label))
        assert all(abs(counts[subset] - share * 14) < 1 for subset, share in SHARES.items())
    validation = sum(subset == "validation" for subset in subsets.values())
    assert 8 <= validation <= 20


def test_small_classes_do_not_all_round_the_same_way():
    groups = [Group(f"{label}/{index}", 1, str(label)) for label in range(40) for index in range(4)]
    counts = Counter(assign(groups, SHARES, 0).values())
    assert 8 <= counts["validation"] <= 24


def test_a_new_class_moves_no_item_of_the_others():
    old = [Group(f"{label}/{index}", 1, label) for label in "bcd" for index in range(9)]
    new = [Group(f"a/{index}", 1, "a") for index in range(9)]
    before, after = assign(old, SHARES, 0), assign(old + new, SHARES, 0)
    assert all(after[name] == subset for name, subset in before.items())


def test_subsets_follow_the_order_of_the_hashes():
    names = [f"{index}" for index in range(30)]
    line = list(assign([Group(name, 1) for name in names], SHARES, 0).values())
    assert sum(one != two for one, two in pairwise(line)) == 2
