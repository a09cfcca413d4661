"""The contents of one experiment's page: metrics and checks as tables, the spec as text, and the files of its plots.

``FolderRecords`` is what an experiment's folder alone says, for pages about experiments of any version and origin.

Does not belong here: widgets (``assay.dashboard.views.experiment``), curves (``assay.dashboard.charts``), the report
(``assay.dashboard.report``).
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.comparison.load import Score, differing_stage
from assay.comparison.terminal import interval
from assay.dashboard.data import Experiment
from assay.errors import AssayError, SpecError, StorageError
from assay.experiments.checks import EXP_TESTS, recorded_tests
from assay.experiments.contents import stage_results
from assay.experiments.folders import (
    ENVIRONMENT_FILES,
    INFO,
    PLACES,
    RESULTS,
    STATISTICS,
    ExperimentFolders,
    folder_name,
    read_folder_manifest,
)
from assay.metrics.registry import get_metric, label_of
from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import learning_of
from assay.spec.loading import load_values, spec_from
from assay.spec.secrets import without_removed_keys
from assay.spec.yaml_text import to_yaml
from assay.storage.files import MANIFEST
from assay.storage.parquet import read_parquet
from assay.storage.records import MOST_MANIFEST_BYTES, ResultManifest, StageReport, read_stored
from assay.storage.results import REPORT, ResultStore
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
    """Return whether a metric, and its whole interval, is better than its baseline; None where that is unknown.

    Without an interval, such as that of too few items, a better value may be chance: it is not surely better.
    """
    try:
        metric = get_metric(name)
    except AssayError:  # of a package that is not installed here
        return None
    if score.value is None or score.baseline is None:
        return None
    if not metric.beats(score.value, score.baseline):
        return f"no: {score.baseline_name}"
    end = score.low if metric.higher_is_better else score.high
    certain = end is not None and metric.beats(end, score.baseline)
    return f"yes: {score.baseline_name}" if certain else f"not surely: {score.baseline_name}"


def check_table(root: Path, experiment_id: str) -> pl.DataFrame:
    """Return the experiment's checks, failed ones first; a file of them that can't be read is the only row."""
    try:
        tests = sorted(recorded_tests(root, experiment_id), key=lambda test: test.passed)
    except StorageError as error:
        return pl.DataFrame([(FAILED, EXP_TESTS, str(error), "a list of tests")], CHECKS, orient="row")
    shown = [(PASSED if each.passed else FAILED, each.name, each.description, each.expected) for each in tests]
    return pl.DataFrame(shown, CHECKS, orient="row")


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


@dataclass(frozen=True)
class FolderRecords:
    """What an experiment's folder says of it, wherever and by whatever version it was made.

    Attributes:
        experiment_id: ID of the experiment.
        folder: The folder.
        info: Name, description, task, tags and run ID, as plain values.
        spec: The spec that it ran with, as plain values without secrets.
        fingerprints: Of its results, by stage, in pipeline order.
        reports: What each stage reported; only of stages with a result.
        versions: Of Assay's code and the project's; empty if not recorded.
        environment: Python, packages and machine of its first run; empty if not recorded.
        note: Why what is stored is not of its spec; empty if it is.
    """

    experiment_id: str
    folder: Path
    info: Mapping[str, Any]
    spec: Mapping[str, Any]
    fingerprints: Mapping[str, str]
    reports: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, Any]
    environment: Mapping[str, Any]
    note: str = ""

    @property
    def task(self) -> str:
        """What is learned: the task of the spec, or multi_label."""
        return learning_of(self.spec)

    @property
    def missing(self) -> list[str]:
        """The stages that its analysis depends on and that were not made yet."""
        try:
            needed = needed_stages(spec_from(self.spec, self.experiment_id))
        except AssayError:  # a spec of another version, or of a package that is not installed
            needed = ("trained_model", "predictions", "analysis")
        return [stage for stage in needed if stage not in self.fingerprints]

    def table(
        self, stage: str, name: str, schema: Mapping[str, Any], optional: Iterable[str] = ()
    ) -> pl.DataFrame | None:
        """Return a table of a stage; None if the stage was not made, or has none of this name.

        Args:
            stage: A stage whose files are part of the folder.
            name: Name of the table, without suffix.
            schema: Types of its columns; further ones are returned as they are.
            optional: Those of them that it may lack.

        Raises:
            StorageError: It is damaged, or of a version that did not have these columns.
        """
        path = self.folder / folder_name(stage, f"{name}.parquet")
        if stage not in self.fingerprints or not path.is_file():
            return None
        table = read_parquet(path)
        lacking = [column for column in schema if column not in table.columns and column not in optional]
        problem = f"no column {lacking[0]!r}" if lacking else ""
        if not problem:
            try:
                return table.cast({column: kind for column, kind in schema.items() if column in table.columns})
            except pl.exceptions.PolarsError:
                problem = "columns of other types"
        raise StorageError(
            f"Experiment {self.experiment_id!r}: {path.name} has {problem}; it was made by another version of Assay. "
            f"Next: assay run {self.experiment_id}"
        )

    def manifest(self, root: Path, stage: str) -> Mapping[str, Any]:
        """Return what a stage's result was made from; empty where neither folder nor storage has that any more."""
        if stage in PLACES:
            with suppress(FileNotFoundError):
                return read_stored(self.folder / RESULTS / stage / MANIFEST, ResultManifest, MOST_MANIFEST_BYTES)
        found = ResultStore(root).find(stage, self.fingerprints[stage])
        return found.manifest if found else {}


def read_records(root: Path, experiment_id: str) -> FolderRecords:
    """Return what an experiment's folder says of it.

    Raises:
        IdError: The ID is not valid.
        StorageError: It has no folder yet, or one of its records is damaged.
    """
    folder = ExperimentFolders(root).require(experiment_id).path
    spec = _values(folder / "configs" / "experiment.yaml")
    if not spec:
        raise StorageError(
            f"{folder} has no configs/experiment.yaml, so nobody knows what the experiment is. Next: assay run "
            f"{experiment_id}"
        )
    made = (read_folder_manifest(folder) or {"results": {}})["results"]
    fingerprints = {stage: made[stage] for stage in STAGES if stage in made}
    outdated = None
    with suppress(StorageError):  # of copies, and where results were deleted, nobody can tell
        outdated = differing_stage(root, folder, spec) if "analysis" in fingerprints else None
    versions, environment = (_values(folder / name) for name in ENVIRONMENT_FILES)
    return FolderRecords(
        experiment_id,
        folder,
        info=_values(folder / INFO),
        spec=without_removed_keys(spec),
        fingerprints=fingerprints,
        reports={stage: _report(root, folder, stage, fingerprints[stage]) for stage in fingerprints},
        versions=versions,
        environment=environment,
        note=f"Its last run did not finish: {outdated} is of an earlier spec." if outdated else "",
    )


def _report(root: Path, folder: Path, stage: str, fingerprint: str) -> Mapping[str, Any]:
    """Return what a stage reported; of results that are not part of the folder, it only has the statistics."""
    with suppress(FileNotFoundError):
        if stage in PLACES:
            return read_stored(folder / folder_name(stage, REPORT), StageReport)
    found = ResultStore(root).find(stage, fingerprint)
    if found is not None:
        return found.report
    with suppress(SpecError):  # counts of so many labels that they are no YAML of ours any more
        return _values(folder / STATISTICS / f"{stage}.yaml")
    return {}


def _values(path: Path) -> dict[str, Any]:
    return load_values(path) if path.is_file() else {}
