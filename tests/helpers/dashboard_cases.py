"""Made-up experiments for the dashboard."""

from datetime import UTC, datetime

from assay.comparison.load import Score
from assay.dashboard.data import Experiment
from assay.spec.yaml_text import flatten

RATE = "trained_model.learner.learning_rate"


def score(value=0.9, low=None, high=None, baseline=0.1, unit=""):
    return Score(value, low, high, baseline, "majority class", unit, 200)


def experiment(experiment_id="ab12", rate=0.001, scores=None, **changes):
    """Return a classification of the 3rd of May 2026 with an accuracy of 0.9 on test."""
    tags = changes.get("tags", {})
    spec = {"task": "classification", "tags": tags, "trained_model": {"learner": {"learning_rate": rate}}}
    fields = {
        "experiment_id": experiment_id,
        "task": "classification",
        "name": "digits",
        "description": "",
        "tags": tags,
        "model": "cnn",
        "evaluates": "",
        "started": datetime(2026, 5, 3, 12, tzinfo=UTC),
        "epochs": 20,
        "spec": spec,
        "keys": flatten(spec) | changes.pop("keys", {}),
        "scores": {"test": {"accuracy": score()}} if scores is None else scores,
        "note": "",
    }
    return Experiment(**fields | changes)
