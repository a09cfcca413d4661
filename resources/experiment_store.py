"""The store as a resource: where experiments and results live, and building a stage's result for a run.

Belongs here: wiring Dagster's contexts to the domain's stores. Does not belong here: what stages compute.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assay.checks.result import TestResult
from assay.errors import StorageError
from assay.experiments.checks import require_passed, run_tests
from assay.experiments.copying import mirror_experiment
from assay.experiments.folders import ExperimentFolders
from assay.experiments.importing import fetch_result
from assay.experiments.locks import named_locks
from assay.experiments.specs import SpecFiles, load_run_config, store_run_config
from assay.pipeline import StageConfig
from assay.spec.experiment import ExperimentSpec
from assay.spec.exptests import TestSection
from assay.spec.ids import validate_id
from assay.storage.locations import Locations
from assay.storage.locks import LockMode, Waiting, hold
from assay.storage.results import Report, Result, ResultStore
from assay.training.data import data_source
from assay.utils.concurrency import Progress, usable_cores
from resources.failures import as_failure
from resources.progress import ProgressReporter
from resources.tracking import Tracker

StageBuild = Callable[[Path, Progress], Report]


class ExperimentStore(dg.ConfigurableResource[Any]):
    """Experiments in ``experiments_folder``, results below ``root``."""

    root: str = "storage"
    """Storage root; relative to the working directory."""
    experiments_folder: str = "experiments"
    """Where the spec files are."""
    locations_file: str = "locations.yaml"
    """Where further locations of experiments are named."""
    reporter: ProgressReporter
    """Who is told how far a stage is."""
    tracker: Tracker
    """Who is told what came out."""

    @property
    def path(self) -> Path:
        """The storage root as an absolute path."""
        return Path(self.root).absolute()

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
        """The places where experiments may be besides the storage."""
        return Locations(Path(self.locations_file), self.path)

    def spec_of_run(self, run_id: str, experiment_id: str) -> ExperimentSpec:
        """Return the spec as it was when the run first asked for it."""
        known = load_run_config(self.path, run_id, experiment_id)
        return known or store_run_config(self.path, run_id, experiment_id, self.specs.load(experiment_id))

    def require_passed(self, context: dg.AssetExecutionContext, data: Result) -> None:
        """Do nothing unless a blocking test of what ``data`` was made from failed, in this run or an earlier one.

        Raises:
            dagster.Failure: One failed.
        """
        made_from = {**data.manifest["ancestors"], data.stage: data.fingerprint}
        with as_failure(f"Experiment {context.partition_key}"):
            require_passed(self.path, context.partition_key, made_from)

    def build(
        self,
        context: dg.AssetExecutionContext,
        spec: StageConfig,
        inputs: Mapping[str, Result | str],
        build: StageBuild,
    ) -> Result:
        """Build, or find, a stage's result, and publish it into the experiment's folder.

        Raises:
            dagster.Failure: The domain refused, for a reason that trying again will not change.
        """
        experiment_id = validate_id(context.partition_key)
        progress = self.reporter.start(context, spec.stage)
        with self._working(context, spec.stage) as waiting:
            result = self.results.build(spec, inputs, lambda folder: build(folder, progress), waiting)
            self.folders.publish(experiment_id, result)
            self.mirror(experiment_id)
        self.reporter.finish(context, spec.stage, _outcome(result))
        self._track(context, spec.stage)
        return result

    def _track(self, context: dg.AssetExecutionContext, stage: str) -> None:
        told = self.tracker.stage_done(context.run.run_id, self.path, context.partition_key, stage)
        self.reporter.warn(context, told)

    @contextmanager
    def _working(self, context: dg.AssetExecutionContext, stage: str) -> Iterator[Waiting]:
        """Hold the locks of the spec's ``filelock_dict`` for the block; gives what tells whom a stage waits for."""
        experiment_id = validate_id(context.partition_key)
        waiting = partial(self.reporter.wait, context, stage)
        with as_failure(f"Experiment {experiment_id}, {stage}"):
            locks = self.spec_of_run(context.run.run_id, experiment_id).filelock_dict
            with named_locks(self.locations, locks, f"{stage} of {experiment_id}", waiting):
                yield waiting

    def adopt(self, context: dg.AssetExecutionContext, spec: StageConfig) -> Result:
        """Find, or fetch, the model that an evaluation is of, and publish it into the experiment's folder.

        Raises:
            dagster.Failure: It is nowhere any more.
        """
        self.reporter.start(context, spec.stage)
        with self._working(context, spec.stage):
            result = self._fetched(context, spec, "trained_model")
            self.folders.publish(context.partition_key, result)
            self.mirror(context.partition_key)
        self.reporter.finish(context, spec.stage, f"that of {spec.found.experiment_id}" if spec.found else "")
        self._track(context, spec.stage)
        return result

    def adopted_scaling(self, context: dg.AssetExecutionContext, spec: StageConfig) -> Path | None:
        """Return the file with the scaling that the evaluated model was trained with; None where there is none."""
        if spec.found is None or not spec.found.scaling:
            return None
        return data_source(self._fetched(context, spec, "normalized")).norm_info

    def _fetched(self, context: dg.AssetExecutionContext, spec: StageConfig, stage: str) -> Result:
        with as_failure(f"Experiment {context.partition_key}, {spec.stage}"):
            if spec.found is None:
                raise StorageError("The spec names no existing_experiment.")
            return fetch_result(self.locations, spec.found, stage, spec.section.output_location)

    def mirror(self, experiment_id: str) -> None:
        """Bring the copy of an experiment's folder up to date, where its spec wants one at another location."""
        folder = self.folders.find(experiment_id)
        if folder is not None:
            mirror_experiment(self.locations, folder)

    def run_tests(
        self, context: dg.AssetCheckExecutionContext, stage: str, kind: str, tests: Sequence[TestSection]
    ) -> list[TestResult]:
        """Run and record the tests of one kind, which watch the result of a stage."""
        experiment_id = context.partition_key
        results = run_tests(self.path, experiment_id, kind, tests)
        self.mirror(experiment_id)
        self.reporter.warn(context, self.tracker.tests_done(context.run.run_id, self.path, experiment_id, stage))
        return results

    @contextmanager
    def cores(self, context: dg.AssetExecutionContext, threads: int) -> Iterator[None]:
        """Have this machine's cores for the block; those whose threads fill them wait for each other.

        Two trainings at a time, each with as many threads as there are cores, take three times as long as one after the
        other: threads that wait for a sleeping one keep their core busy, inside libraries that no setting reaches.
        """
        name = f"cores/{socket.gethostname()}"
        mode: LockMode = "write" if threads >= usable_cores() else "read"
        waiting = partial(self.reporter.wait, context, "trained_model")
        with hold(self.path / "locks", name, mode, f"training {context.partition_key}", waiting=waiting):
            yield


def _outcome(result: Result) -> str:
    how = "found, nothing to do" if result.reused else "built"
    return f"{how}, {result.size_bytes / 1e6:.1f} MB"
