"""A few inputs of the campaign ``annotations``; ``python -m tests.campaigns.annotations`` tries many."""

import pytest

from tests.campaigns.annotations import attempt


@pytest.mark.parametrize("seed", range(45))
def test_what_is_read_is_true_or_refused(seed):
    assert attempt(seed).problem == ""
