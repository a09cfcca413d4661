"""The store as a resource: where experiments and results live, and building a stage's result for a run.

Belongs here: wiring Dagster's contexts to the domain's stores. Does not belong here: what stages compute.
"""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from assay.checks.result import TestResult
from assay.experiments.building import adopt_model, build_stage, fetch_adopted, mirror
from assay.experiments.checks import require_passed, run_tests
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles, load_run_config, store_run_config
from assay.pipeline import StageConfig, StageSection
from assay.spec.experiment import ExperimentSpec, FileLockSpec
from assay.spec.exptests import TestSection
from assay.spec.ids import validate_id
from assay.storage.locations import Locations
from assay.storage.locks import LockMode, Waiting, hold
from assay.storage.results import Build, Result, ResultStore
from assay.training.data import data_source
from assay.utils.concurrency import usable_cores
from resources.failures import as_failure
from resources.progress import ProgressReporter
from resources.tracking import Tracker


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

    @contextmanager
    def build(
        self, context: dg.AssetExecutionContext, spec: StageConfig[StageSection], inputs: Mapping[str, Result | str]
    ) -> Iterator[Build]:
        """Build, or find, a stage's result in the block, and publish it into the experiment's folder afterwards.

        Raises:
            dagster.Failure: The domain refused, for a reason that trying again will not change.
        """
        progress = self.reporter.start(context, spec.stage)
        with (
            as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"),
            build_stage(self.locations, spec, inputs, self._locks(context), self._waiting(context, spec)) as build,
        ):
            build.progress = progress
            yield build
        self._finish(context, spec, _outcome(build.result))

    def adopt(self, context: dg.AssetExecutionContext, spec: StageConfig[StageSection]) -> Result:
        """Find, or fetch, the model that an evaluation is of, and publish it into the experiment's folder.

        Raises:
            dagster.Failure: It is nowhere any more.
        """
        self.reporter.start(context, spec.stage)
        with as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"):
            result = adopt_model(self.locations, spec, self._locks(context), self._waiting(context, spec))
        self._finish(context, spec, f"that of {spec.found.experiment_id}" if spec.found else "")
        return result

    def adopted_scaling(self, spec: StageConfig[Any]) -> Path | None:
        """Return the file with the scaling that the evaluated model was trained with; None where there is none.

        Raises:
            dagster.Failure: It is nowhere any more.
        """
        if spec.found is None or not spec.found.scaling:
            return None
        with as_failure(f"Experiment {spec.experiment_id}, {spec.stage}"):
            return data_source(fetch_adopted(self.locations, spec, "normalized")).norm_info

    def _locks(self, context: dg.AssetExecutionContext) -> Mapping[str, FileLockSpec]:
        return self.spec_of_run(context.run.run_id, validate_id(context.partition_key)).filelock_dict

    def _waiting(self, context: dg.AssetExecutionContext, spec: StageConfig[Any]) -> Waiting:
        return partial(self.reporter.wait, context, spec.stage)

    def _finish(self, context: dg.AssetExecutionContext, spec: StageConfig[Any], outcome: str) -> None:
        self.reporter.finish(context, spec.stage, outcome)
        problem = self.tracker.stage_done(context.run.run_id, self.path, spec.experiment_id, spec.stage)
        self.reporter.warn(context, problem)

    def run_tests(
        self, context: dg.AssetCheckExecutionContext, stage: str, kind: str, tests: Sequence[TestSection]
    ) -> list[TestResult]:
        """Run and record the tests of one kind, which watch the result of a stage."""
        experiment_id = context.partition_key
        results = run_tests(self.path, experiment_id, kind, tests)
        mirror(self.locations, experiment_id)
        self.reporter.warn(context, self.tracker.tests_done(context.run.run_id, self.path, experiment_id, stage))
        return results

    @contextmanager
    def cores(self, context: dg.AssetExecutionContext, threads: int, usable: int | None = None) -> Iterator[None]:
        """Have this machine's cores for the block; those whose threads fill them wait for each other.

        Two trainings at a time, each with as many threads as there are cores, take three times as long as one after the
        other: threads that wait for a sleeping one keep their core busy, inside libraries that no setting reaches.

        Args:
            context: Of the asset; names the experiment.
            threads: How many the training has.
            usable: Cores of this machine; counted when left out.
        """
        name = f"cores/{socket.gethostname()}"
        mode: LockMode = "write" if threads >= (usable or usable_cores()) else "read"
        waiting = partial(self.reporter.wait, context, "trained_model")
        with hold(self.path / "locks", name, mode, f"training {context.partition_key}", waiting=waiting):
            yield


def _outcome(result: Result) -> str:
    how = "found, nothing to do" if result.reused else "built"
    return f"{how}, {result.size_bytes / 1e6:.1f} MB"
