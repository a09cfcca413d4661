"""Comparisons of made-up experiments, as many as a test wants."""

import math
from pathlib import Path

import polars as pl
import pytest

from assay.comparison.load import HISTORY, ComparisonData, Entry, Score
from tests.unit.inference.conftest import trained_families  # noqa: F401 - a fixture, trained once for both folders

RATE = "trained_model.learner.learning_rate"
MODEL = "trained_model.model.kind"
SUBSETS = {"trained_model.data_train.subset": "train", "trained_model.data_validation.subset": "validation"}


def made_up_score(value, low=None, high=None, baseline=0.1):
    return Score(value, low, high, baseline, "majority class", "", 200)


def made_up_entry(number, count=1, **changes):
    """Return an experiment; the later ones are better."""
    value = round(0.5 + 0.45 * number / max(count, 1), 4)
    keys = {
        "task": "classification",
        "seed": 42,
        RATE: 10 ** (-4 + 3 * number / count),
        MODEL: ("cnn", "mlp")[number % 2],
    }
    fields = {
        "experiment_id": f"lr-{number:02}",
        "task": "classification",
        "name": "digits",
        "folder": Path("/storage/experiments") / f"CLS-{number}",
        "keys": keys | SUBSETS | changes.pop("keys", {}),
        "scores": {
            "accuracy": made_up_score(value, value - 0.04, min(1.0, value + 0.04)),
            "log_loss": made_up_score(2.3 * (1 - value), baseline=2.3),
        },
        "epochs": 20,
    }
    return Entry(**(fields | changes))


def made_up_history(entry, epochs):
    score = entry.scores.get("accuracy")
    speed = 0.05 + (score.value if score and score.value else 0.1) / 4
    for epoch in range(1, epochs + 1):
        fall = math.exp(-speed * epoch) + 0.02 * math.sin(epoch * 7 + speed * 100)
        yield entry.experiment_id, epoch, "train", "loss", 2.2 * fall + 0.1
        yield entry.experiment_id, epoch, "validation", "loss", 2.1 * fall + 0.25
        yield entry.experiment_id, epoch, "validation", "accuracy", 0.95 * (1 - fall)


@pytest.fixture
def compare():
    """Make a collection of so many experiments, or of given entries."""

    def make(count=3, *entries, epochs=3):
        chosen = entries or tuple(made_up_entry(number, count) for number in range(count))
        rows = [row for entry in chosen for row in made_up_history(entry, epochs)]
        return ComparisonData("test", chosen, pl.DataFrame(rows, HISTORY, orient="row"))

    return make


@pytest.fixture
def entry():
    return made_up_entry


@pytest.fixture
def score():
    return made_up_score
