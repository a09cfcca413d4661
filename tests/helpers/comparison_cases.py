"""Experiments as runs leave them, with empty results and made-up metrics: what takes a run minutes takes this 50 ms."""

import json

import polars as pl

from assay.comparison.load import HISTORY
from assay.experiments.costs import stage_costs
from assay.experiments.folders import ExperimentFolders, experiment_row
from assay.pipeline import STAGES, needed_stages, stage_config
from assay.storage.partitions import place_of
from assay.storage.results import ResultStore
from tests.helpers.results import build


def values(rate=0.001, **keys):
    silent = {"git_versions": False, "environment": False}
    model = {"learner": {"learning_rate": rate}, "exp_initializer": silent}
    return {"task": "regression", "trained_model": model, **keys}


def put(store, table, experiment_id, frame):
    place_of(store.root, "main", table, "experiment_id", experiment_id).write(frame)


def start(store, experiment_id):
    """Do what the first asset of a run does."""
    spec, folders = store.load(experiment_id), ExperimentFolders(store.root)
    row = experiment_row(experiment_id, spec, folders.open(experiment_id, spec))
    put(store, "experiments", experiment_id, pl.DataFrame([row]))
    return spec, folders


def run(store, experiment_id, mae=0.5, subset="test"):
    """Do what a run does, with empty results."""
    spec, folders = start(store, experiment_id)
    results = {}
    for stage in needed_stages(spec):
        inputs = {name: results[name] for name in STAGES[stage].inputs if name in results}
        results[stage] = build(
            ResultStore(store.root), stage_config(spec, experiment_id, stage), inputs, lambda folder: {}
        )
    folders.publish(experiment_id, results["analysis"])
    score = {"value": mae, "ci_low": mae - 0.1, "ci_high": mae + 0.1, "baseline": 3.0, "baseline_name": "train mean"}
    row = {"subset": subset, "metric": "mae", "class": "", **score, "unit": "mm", "count": 9}
    put(store, "analysis", experiment_id, pl.DataFrame([row]))
    history = [(epoch, "train", "loss", 1 / epoch) for epoch in (1, 2, 3)]
    columns = pl.Schema({name: kind for name, kind in HISTORY.items() if name != "experiment_id"})
    put(store, "training_history", experiment_id, pl.DataFrame(history, columns, orient="row"))


REPORT = {"summary": "Good.", "next": "Go on."}


def run_all(store, experiment_id):
    """Do what a run does, with empty results, all of which are published; the first costs a second, the next two."""
    spec, folders = start(store, experiment_id)
    results = {}
    for seconds, stage in enumerate(needed_stages(spec), start=1):
        inputs = {name: results[name] for name in STAGES[stage].inputs if name in results}
        config = stage_config(spec, experiment_id, stage)
        results[stage] = build(
            ResultStore(store.root), config, inputs, lambda folder: {"summary": "Good.", "next": "Go on."}
        )
        if not results[stage].reused:
            file = results[stage].cost_file
            file.write_text(json.dumps({**json.loads(file.read_text()), "wall_s": float(seconds)}))
        folders.publish(experiment_id, results[stage])
    return stage_costs(store.root, experiment_id)
