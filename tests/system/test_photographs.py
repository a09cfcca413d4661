"""The storage before every event of a run is whole, and a new process that goes on from there arrives at its bytes."""

import os

import pytest

from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.photographs import attempt
from tests.helpers.photographer import own_temporary_folder

pytestmark = pytest.mark.system

POINTS = int(os.environ.get("ASSAY_KILLS", "2"))
"""How many photographs are continued; 60 before a release."""


def test_every_photograph_of_a_run_is_whole_and_runs_go_on_from_some():
    with own_temporary_folder():
        outcomes = try_seeds(attempt, range(POINTS + 1), deadline_s=600)
    assert failures(outcomes) == []
