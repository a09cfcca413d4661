"""Filters: every condition by itself, all together, and what has no value for them."""

from datetime import UTC, date, datetime

import pytest

from assay.dashboard.filters import Filter
from tests.helpers.dashboard_cases import RATE, experiment

EXPERIMENTS = [
    experiment("first", 0.001, started=datetime(2026, 5, 1, 23, 59, tzinfo=UTC), epochs=5, tags={"owner": "Mia"}),
    experiment("second", 0.01, started=datetime(2026, 5, 2, tzinfo=UTC), model="mlp", description="Try it again"),
    experiment("third", 0.1, task="regression", name="House prices", epochs=50, keys={"only": [1, 2]}),
    experiment("unknown", started=None, epochs=None, keys={RATE: None}),
]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["first", "second", "third", "unknown"]),
        ({"tasks": ["regression"]}, ["third"]),
        ({"models": ["mlp", "cnn"], "tasks": ["classification"]}, ["first", "second", "unknown"]),
        ({"since": date(2026, 5, 2)}, ["second", "third"]),
        ({"until": date(2026, 5, 1)}, ["first"]),
        ({"since": date(2026, 5, 2), "until": date(2026, 5, 2)}, ["second"]),
        ({"epochs": (5, 20)}, ["first", "second"]),
        ({"words": "mia"}, ["first"]),
        ({"words": "AGAIN try"}, ["second"]),
        ({"words": "house second"}, []),
        ({"values": {RATE: ["0.1", "0.01"]}}, ["second", "third"]),
        ({"values": {RATE: []}}, ["first", "second", "third", "unknown"]),
        ({"values": {"only": ["[1, 2]"]}}, ["third"]),
        ({"values": {"only": ["–"]}}, ["first", "second", "unknown"]),
        ({"values": {"tags.owner": ["Mia"]}}, ["first"]),
        ({"ranges": {RATE: (0.001, 0.01)}}, ["first", "second"]),
        ({"ranges": {"only": (0, 9)}}, []),
        ({"tasks": ["classification"], "ranges": {RATE: (0.005, 1)}, "words": "digits"}, ["second"]),
    ],
)
def test_all_conditions_must_hold(conditions, expected):
    assert [each.experiment_id for each in Filter(**conditions).choose(EXPERIMENTS)] == expected
