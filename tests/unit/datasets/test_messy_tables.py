"""Messy and hostile tables and class folders: some of the campaign's, and that the campaign would notice."""

import random

import pytest

from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.class_folders import FOLDERS, subsets, try_folder
from tests.campaigns.tables import TABLES, attempt, mostly_numbers, truth, try_table, unchanged


@pytest.mark.system
def test_some_of_them_are_read_rightly_or_refused_in_one_sentence():
    assert failures(try_seeds(attempt, range(30))) == []


@pytest.fixture
def case():
    return unchanged(random.Random(0))


def test_a_wrong_value_would_be_noticed(case, tmp_path):
    case.right["size"][3] += 1
    assert "column size, row 4: read" in try_table(case, tmp_path)


def test_a_needless_refusal_would_be_noticed(case, tmp_path):
    case.keys["encoding"] = "utf-32"
    assert "was refused" in try_table(case, tmp_path)


def test_a_table_that_should_be_refused_would_be_noticed(case, tmp_path):
    case.must = "refused"
    assert "was read" in try_table(case, tmp_path)


def test_numbers_as_categories_would_be_noticed():
    assert mostly_numbers(["5", "7,5", "1.234", "red"])
    assert not mostly_numbers(["5", "red", "blue"])


def test_a_wrong_class_would_be_noticed(tmp_path):
    def mislabelled(rng, root):
        right, must = subsets(rng, root)
        return {name: ("cat", subset) for name, (_, subset) in right.items()}, must

    assert "right is" in try_folder(mislabelled, random.Random(0), tmp_path)


def test_every_kind_has_a_name_of_its_own():
    names = [make.__name__ for make in (*TABLES, *FOLDERS)]
    assert len(set(names)) == len(names)
    assert truth(random.Random(1)) == truth(random.Random(1))
