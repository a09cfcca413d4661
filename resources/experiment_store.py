"""The store as a resource: where experiments and results are, and building the result of a stage in a run.

Belongs here: connecting Dagster's contexts to the stores of ``assay``. Does not belong here: what stages compute.
"""

import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import PrivateAttr

from assay.checks.result import TestResult
from assay.errors import StorageError
from assay.experiments.building import build_stage, fetch_evaluated, mirror, publish_evaluated_model
from assay.experiments.checks import require_passed, run_tests
from assay.experiments.costs import record_costs
from assay.experiments.folders import ExperimentFolders
from assay.experiments.locks import RunLocks
from assay.experiments.sharing import begin_run, end_runs
from assay.experiments.specs import SpecFiles, load_run_config, store_run_config
from assay.pipeline import StageConfig, StageSection, used_inputs, why_not_needed
from assay.spec.experiment import ExperimentSpec, LockSection
from assay.spec.exptests import TestSection
from assay.spec.ids import validate_id
from assay.storage.locations.config import Locations
from assay.storage.locks.acquire import LockMode, Waiting, hold
from assay.storage.parquet import table_of
from assay.storage.remote import storage_at
from assay.storage.results import Build, Result, ResultStore
from assay.training.data import data_source
from assay.utils.concurrency import usable_cores
from assay.utils.text import pluralize, readable_size
from resources.failures import as_failure
from resources.progress import ProgressReporter
from resources.tracking import Tracker

ASSET_JOB = "__ASSET_JOB"
"""Beginning of the name of Dagster's own job, by which assets chosen by hand are materialized."""


class ExperimentStore(dg.ConfigurableResource[Any]):
    """Experiments in ``experiments_folder``, results below ``root``."""

    root: str = "storage"
    """Storage root, absolute or relative to the working directory; or ``s3://BUCKET/PREFIX``."""
    experiments_folder: str = "experiments"
    """Folder with the spec files."""
    locations_file: str = "locations.yaml"
    """File that lists further locations of experiments."""
    reporter: ProgressReporter
    """Reports the progress of stages."""
    tracker: Tracker
    """Sends finished results to MLflow."""
    _run_locks: RunLocks = PrivateAttr(default_factory=RunLocks)
    _with_costs: set[str] = PrivateAttr(default_factory=set)
    """The experiments whose costs this run may have changed."""

    @property
    def path(self) -> Path:
        """The storage root as an absolute path; of a storage in a bucket, its cache."""
        return storage_at(self.root)

    @property
    def specs(self) -> SpecFiles:
        """The spec files."""
        return SpecFiles(Path(self.experiments_folder), self.path, self.locations)

    @property
    def results(self) -> ResultStore:
        """The result folders."""
        return ResultStore(self.path)

    @property
    def folders(self) -> ExperimentFolders:
        """The experiments' own folders."""
        return ExperimentFolders(self.path)

    @property
    def locations(self) -> Locations:
        """The locations where experiments may be besides the storage."""
        return Locations(Path(self.locations_file), self.path)

    def spec_of_run(self, run_id: str, experiment_id: str) -> ExperimentSpec:
        """Return the spec as it was when the run first read it."""
        self.begin(experiment_id)
        spec = load_run_config(self.path, run_id, experiment_id)
        return spec or store_run_config(self.path, run_id, experiment_id, self.specs.load(experiment_id))

    def begin(self, experiment_id: str, waiting: Waiting | None = None) -> None:
        """Wait until no other machine runs an experiment, if the storage is in a bucket; see ``begin_run``."""
        begin_run(self.path, experiment_id, self.specs.path(experiment_id), waiting)

    def why_not_needed(self, context: dg.AssetExecutionContext, stage: str) -> str:
        """Return why a run need not make a stage; empty if it must.

        What nothing in the experiment reads is made only by a run that somebody started for data alone, by hand.
        """
        run = context.run
        is_by_hand = run.job_name.startswith(ASSET_JOB)
        is_for_data = not {dg.AssetKey("trained_model"), dg.AssetKey("analysis")} & set(run.asset_selection or ())
        if is_by_hand and is_for_data:
            return ""
        return why_not_needed(self.spec_of_run(run.run_id, validate_id(context.partition_key)), stage)

    def reads(self, context: dg.AssetExecutionContext, stage: str, name: str) -> bool:
        """Return whether a stage reads an input in this experiment; one of an earlier source may still be there."""
        spec = self.spec_of_run(context.run.run_id, validate_id(context.partition_key))
        return name in used_inputs(spec, stage)

    def require_passed(self, context: dg.AssetExecutionContext, data: Result) -> None:
        """Check that no blocking test of ``data``, or of a result it was made from, failed in this or an earlier run.

        Raises:
            dagster.Failure: One failed.
        """
        made_from = {**data.manifest["ancestors"], data.stage: data.fingerprint}
        with as_failure(f"Experiment {context.partition_key}"):
            require_passed(self.path, context.partition_key, made_from)

    @contextmanager
    def build(
        self, context: dg.AssetExecutionContext, spec: StageConfig[StageSection], inputs: Mapping[str, Result | str]
    ) -> Iterator[Build]:
        """Yield the build of a stage's result to the block, then publish the result into the experiment's folder.

        Args:
            context: Context of the asset.
            spec: The stage's section of the spec.
            inputs: Results of other stages, or digests of external data, by name.

        Raises:
            dagster.Failure: The spec or the data is wrong, so that a retry would fail in the same way.
        """
        progress = self.reporter.start(context, spec.stage)
        with (
            as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"),
            self._locks(context, spec) as locks,
            build_stage(self.locations, spec, inputs, locks, self._waiting(context, spec)) as build,
        ):
            build.progress = progress
            yield build
        self._finish(context, spec, _outcome(build.result))
        for note in build.result.report.get("notes", ()):
            context.log.info(f"{spec.stage}: {note}")
        for warning in build.result.report.get("warnings", ()):
            self.reporter.warn(context, f"{spec.stage}: {warning}")

    def table_of(self, stage: str, rows: pl.LazyFrame | None) -> tuple[Result, pl.LazyFrame]:
        """Return the result that an asset's input table belongs to, for what it holds besides the rows, and the rows.

        Raises:
            dagster.Failure: The rows are not a stored table of the stage, or its result no longer exists.
        """
        table = None if rows is None else table_of(rows)
        if table is None or rows is None:
            raise dg.Failure(f"There is no table of {stage}. Materialize {stage} first.", allow_retries=False)
        with as_failure(stage):
            return self.results.open(stage, table.fingerprint), rows

    def publish_evaluated_model(self, context: dg.AssetExecutionContext, spec: StageConfig[StageSection]) -> Result:
        """Find, or fetch, the model that the experiment evaluates, and publish it into the experiment's folder.

        Raises:
            dagster.Failure: The model no longer exists at any location.
        """
        self.reporter.start(context, spec.stage)
        with as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"), self._locks(context, spec) as locks:
            result = publish_evaluated_model(self.locations, spec, locks, self._waiting(context, spec))
        self._finish(context, spec, f"that of {spec.found.experiment_id}" if spec.found else "")
        return result

    def evaluated_scaling(self, spec: StageConfig[Any]) -> Path | None:
        """Return the file with the scaling that the evaluated model was trained with; None if there is none.

        Raises:
            dagster.Failure: The scaling no longer exists at any location.
        """
        if spec.found is None or not spec.found.scaling:
            return None
        with as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"):
            return data_source(fetch_evaluated(self.locations, spec, "normalized")).norm_info

    def _locks(
        self, context: dg.AssetExecutionContext, spec: StageConfig[Any]
    ) -> AbstractContextManager[dict[str, LockSection]]:
        locks = self.spec_of_run(context.run.run_id, validate_id(context.partition_key)).filelock_dict
        waiting = self._waiting(context, spec)
        return self._run_locks.during(self.locations, spec.stage, spec.experiment_id, locks, waiting)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Enter what the run cost, and release what it holds, whatever its outcome; a lost lock is lost already."""
        for experiment_id in sorted(self._with_costs):
            record_costs(self.path, experiment_id)
        self._with_costs.clear()
        with suppress(StorageError):
            self._run_locks.release()
        try:
            end_runs(self.path)
        except StorageError as error:
            later = "Until the next command on this machine, other machines don't see what this run made"
            self.reporter.warn(context, f"{error} {later}.")

    def _waiting(self, context: dg.AssetExecutionContext, spec: StageConfig[Any]) -> Waiting:
        return partial(self.reporter.wait, context, spec.stage)

    def _finish(self, context: dg.AssetExecutionContext, spec: StageConfig[Any], outcome: str) -> None:
        self.reporter.finish(context, spec.stage, outcome)
        self._with_costs.add(spec.experiment_id)
        problem = self.tracker.stage_done(context.run.run_id, self.path, spec.experiment_id, spec.stage)
        self.reporter.warn(context, problem)

    def run_tests(
        self, context: dg.AssetCheckExecutionContext, stage: str, kinds: Collection[str], tests: Sequence[TestSection]
    ) -> tuple[dict[str, list[TestResult]], list[Exception]]:
        """Run and record the tests of some kinds, which test the result of a stage; see ``run_tests`` of ``assay``."""
        experiment_id = context.partition_key
        results = run_tests(self.path, experiment_id, kinds, tests)
        mirror(self.locations, experiment_id)
        self.reporter.warn(context, self.tracker.tests_done(context.run.run_id, self.path, experiment_id, stage))
        return results

    @contextmanager
    def cores(
        self,
        context: dg.AssetExecutionContext,
        threads: int,
        usable: int | None = None,
        build: Build | None = None,
    ) -> Iterator[None]:
        """Reserve this machine's cores for a training; trainings that use all cores take turns.

        Two trainings at once, each with as many threads as there are cores, take three times as long as one after the
        other: threads that wait for a preempted one keep their core busy, inside libraries that no setting affects.

        Args:
            context: Context of the asset, which names the experiment.
            threads: Number of threads of the training.
            usable: Number of cores of this machine; counted if not given.
            build: What is built with them; waiting for them is not part of its cost.
        """
        name = f"cores/{socket.gethostname()}"
        mode: LockMode = "write" if threads >= (usable or usable_cores()) else "read"
        waiting = partial(self.reporter.wait, context, "trained_model")
        if build is not None and build.meter is not None:
            build.meter.pause()
        with hold(self.path / "locks", name, mode, f"training {context.partition_key}", waiting=waiting):
            if build is not None and build.meter is not None:
                build.meter.restart()
            yield


def _outcome(result: Result) -> str:
    how = "found, nothing to do" if result.reused else "built"
    return ", ".join([how, readable_size(result.size_bytes), *counts(result)])


MOST_CLASSES_SHOWN = 5


def counts(result: Result) -> list[str]:
    """Return how much data a result holds, for people who want to see at once whether everything was read."""
    report = result.report
    if result.stage == "generated_images":
        shown = [f"{report[name]:,} {name}" for name in ("images", "objects", "rows") if name in report]
        return [*shown, *_classes(report.get("labels") or {})]
    if result.stage == "splits":
        return [f"{subset} {count:,}" for subset, count in report["items_per_subset"].items()]
    return []


def _classes(labels: Mapping[str, int]) -> list[str]:
    """Return how many classes there are, and the names of those that occur; a file may name many that don't."""
    names = [str(name) for name, count in labels.items() if count]
    if not labels:
        return []
    shown = ", ".join(names[:MOST_CLASSES_SHOWN]) + (", …" if len(names) > MOST_CLASSES_SHOWN else "") or "none"
    all_classes = pluralize(len(labels), "class", "classes")
    return [f"{all_classes}{f', only {len(names)} found' if len(names) < len(labels) else ''} ({shown})"]
