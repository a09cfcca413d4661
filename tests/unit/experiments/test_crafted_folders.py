"""A stranger's folder is refused or used, and never obeyed, in whatever way people use it."""

import pytest

from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.crafted_folders import CASES, attempt
from tests.helpers.photographer import own_temporary_folder

ONTO = [seed for seed, (name, _, _) in enumerate(CASES) if name.startswith("copies onto")]
OTHERS = [seed for seed in range(len(CASES)) if seed not in ONTO]


def problems_of(seeds):
    with own_temporary_folder():
        return failures(try_seeds(attempt, seeds))


@pytest.mark.system
def test_a_crafted_target_leads_no_copy_astray():
    assert problems_of(ONTO) == []


@pytest.mark.system
def test_crafted_folders_are_refused_or_used():
    """So many that all ways to use them are among them; ``make campaigns`` tries all."""
    assert problems_of(OTHERS[::11]) == []
