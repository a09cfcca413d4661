"""The contents of one experiment's page: metrics and checks as tables, the spec as text, and the files of its plots.

Does not belong here: widgets (``assay.dashboard.views.experiment``), curves (``assay.dashboard.charts``).
"""

import csv
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.comparison.load import Score
from assay.comparison.terminal import interval
from assay.dashboard.data import Experiment
from assay.errors import AssayError, StorageError
from assay.experiments.checks import EXP_TESTS
from assay.experiments.contents import stage_results
from assay.experiments.folders import ExperimentFolders
from assay.metrics.registry import get_metric, label_of
from assay.spec.yaml_text import to_yaml
from assay.utils.text import natural_sort_key

METRICS = pl.Schema(
    {
        "Metric": pl.String(),
        "Subset": pl.String(),
        "Value": pl.Float64(),
        "Unit": pl.String(),
        "Interval": pl.String(),
        "Baseline": pl.Float64(),
        "Better than baseline": pl.String(),
        "Items": pl.Int64(),
    }
)

PASSED, FAILED = "✓ passed", "✗ failed"

CHECKS = pl.Schema({"Outcome": pl.String(), "Check": pl.String(), "Found": pl.String(), "Expected": pl.String()})


DATA_STAGES = ("generated_images", "splits", "crops", "tabular", "normalized")

PLOT_FOLDERS = {
    "Analysis": "analysis/pictures",
    "Predictions": "predictions/pictures",
    "Training": "pictures",
}
"""Folders of plots in an experiment's folder by heading, the most important first."""

NET_DATA = "net_data"

EPOCH = re.compile(r"epoch_(\d+)\.(png|parquet)")


def metric_table(experiment: Experiment, subsets: Iterable[str]) -> pl.DataFrame:
    """Return all metrics over all classes, metric by metric, with interval and baseline."""
    shown = list(subsets)
    names = dict.fromkeys(name for subset in shown for name in experiment.scores.get(subset, {}))
    rows = [
        _metric_row(name, subset, experiment.scores[subset][name])
        for name in names
        for subset in shown
        if name in experiment.scores.get(subset, {})
    ]
    return pl.DataFrame(rows, METRICS, orient="row")


def _metric_row(name: str, subset: str, score: Score) -> tuple[object, ...]:
    return (
        label_of(name),
        subset,
        score.value,
        score.unit or None,
        interval(score) or None,
        score.baseline,
        baseline_verdict(name, score),
        score.count,
    )


def baseline_verdict(name: str, score: Score) -> str | None:
    """Return whether a metric, and its whole interval, is better than its baseline; None where that is unknown."""
    try:
        metric = get_metric(name)
    except AssayError:  # of a package that is not installed here
        return None
    if score.value is None or score.baseline is None:
        return None
    if not metric.beats(score.value, score.baseline):
        return f"no: {score.baseline_name}"
    end = score.low if metric.higher_is_better else score.high
    certain = end is None or metric.beats(end, score.baseline)
    return f"yes: {score.baseline_name}" if certain else f"not surely: {score.baseline_name}"


def check_table(root: Path, experiment_id: str) -> pl.DataFrame:
    """Return the experiment's checks, failed ones first."""
    folder = ExperimentFolders(root).find(experiment_id)
    rows = _read(folder.path / EXP_TESTS) if folder else []
    ordered = sorted(rows, key=lambda row: row["passed"] == "True")
    shown = [(_outcome(row), row["name"], row["description"], row["expected"]) for row in ordered]
    return pl.DataFrame(shown, CHECKS, orient="row")


def _outcome(row: Mapping[str, str]) -> str:
    return PASSED if row["passed"] == "True" else FAILED


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []


def spec_text(experiment: Experiment) -> str:
    """Return the resolved spec as YAML, without secrets."""
    return to_yaml(dict(experiment.spec))


@dataclass(frozen=True)
class Plot:
    """One plot, or another image that a stage made.

    Attributes:
        title: What it shows.
        path: Its PNG file; a run may replace it at any moment.
    """

    title: str
    path: Path

    def read(self) -> bytes | None:
        """Return its content; None when it is gone."""
        try:
            return self.path.read_bytes()
        except OSError:
            return None


def plots_of(root: Path, experiment_id: str) -> dict[str, list[Plot]]:
    """Return the plots of an experiment by heading: those of its results first, those of its data last."""
    folder = ExperimentFolders(root).find(experiment_id)
    groups = {heading: _in_folder(folder.path / name) for heading, name in PLOT_FOLDERS.items()} if folder else {}
    groups["Data"] = _of_data(root, experiment_id)
    return {heading: plots for heading, plots in groups.items() if plots}


def net_data_of(root: Path, experiment_id: str) -> dict[int, Path]:
    """Return the file with the inputs of the network, by epoch: a PNG, or a Parquet file for rows of a table."""
    folder = ExperimentFolders(root).find(experiment_id)
    paths = sorted((folder.path / NET_DATA).glob("*")) if folder else []
    epochs = ((EPOCH.fullmatch(path.name), path) for path in paths)
    return {int(match.group(1)): path for match, path in epochs if match}


def _of_data(root: Path, experiment_id: str) -> list[Plot]:
    with suppress(StorageError, OSError):  # results are being replaced, or were deleted
        results = stage_results(root, experiment_id)
        return list(_named(path for stage in DATA_STAGES if stage in results for path in results[stage].pictures))
    return []


def _in_folder(folder: Path) -> list[Plot]:
    return list(_named(sorted(folder.glob("*.png"), key=lambda path: natural_sort_key(path.stem))))


def _named(paths: Iterable[Path]) -> Iterable[Plot]:
    for path in paths:
        yield Plot(path.stem.replace("_", " ").capitalize(), path)
