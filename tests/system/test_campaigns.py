"""Hostile and damaged spec files: a part of each campaign; ``python -m tests.campaigns.NAME`` runs all of it."""

import pytest

from tests.campaigns import hostile_neighbours, hostile_specs
from tests.campaigns.campaign import failures, try_seeds
from tests.campaigns.hostile_neighbours import try_neighbour
from tests.campaigns.hostile_specs import try_command
from tests.campaigns.mutated_specs import try_mutation

pytestmark = pytest.mark.system

CASES = len(hostile_specs.CASES)


def test_commands_refuse_every_hostile_file_in_one_message():
    seeds = [*range(CASES), *range(CASES, 2 * CASES, 8)]  # all are validated, some are run as well
    outcomes = try_seeds(try_command, seeds, deadline_s=3 * hostile_specs.DEADLINE_S)
    assert len(outcomes) == len(seeds)
    assert failures(outcomes) == []


def test_a_good_experiment_is_seen_beside_every_hostile_one():
    outcomes = try_seeds(try_neighbour, range(len(hostile_neighbours.KINDS)), deadline_s=120)
    assert failures(outcomes) == []


def test_two_thousand_damaged_examples_are_errors_or_still_valid():
    outcomes = try_seeds(try_mutation, range(1000, 3000), most_mb=hostile_specs.MOST_MB)
    assert len(outcomes) == 2000
    assert failures(outcomes) == []
