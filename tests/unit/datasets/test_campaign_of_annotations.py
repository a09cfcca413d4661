"""A few inputs of the campaign ``annotations``; ``python -m tests.campaigns.annotations`` tries many."""

import pytest

from tests.campaigns.annotations import attempt
from tests.campaigns.campaign import failures, try_seeds


@pytest.mark.system
def test_what_is_read_is_true_or_refused():
    assert failures(try_seeds(attempt, range(30))) == []
