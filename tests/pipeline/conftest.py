"""A store of its own for each test, and runs of the real jobs in this process."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assay.automation.reconcile import expected_versions, outdated
from assay.experiments.contents import stage_results
from assay.pipeline import stage_config
from assay.spec.loading import load_values, merged
from assay.spec.yaml_text import to_yaml
from assay.stages.generated_images import content_digest
from assay.storage.files import write_text
from assets.sensors import follow_files
from definitions import build_defs
from resources.defaults import resources_for
from resources.experiment_store import ExperimentStore
from resources.instance.run_records import RUN_KEY_TAG, SENSOR_TAG, InstanceRunRecords
from resources.progress import ProgressReporter
from resources.tracking import Tracker

SMALL_IMAGES = {"kind": "numbers", "sample_count": 12, "img_size": {"width": 96, "height": 96}, "max_amount": 3}
FAST = {
    "generated_images": {"source": SMALL_IMAGES},
    "trained_model": {"train_params": {"epochs": 2}},
    "analysis": {"result_analyzer": {"bootstrap_samples": 50}},
}


@dataclass
class Lab:
    """A storage, experiments and a Dagster instance."""

    folder: Path
    instance: dg.DagsterInstance
    tracker: Tracker = field(default_factory=Tracker)

    @property
    def store(self) -> ExperimentStore:
        return self.store_telling(ProgressReporter())

    def store_telling(self, reporter: ProgressReporter) -> ExperimentStore:
        return ExperimentStore(
            root=str(self.folder / "storage"),
            experiments_folder=str(self.folder / "experiments"),
            locations_file=str(self.folder / "locations.yaml"),
            reporter=reporter,
            tracker=self.tracker,
        )

    def write(self, experiment_id: str, task: str = "regression", **keys: Any) -> None:
        self.write_plain(experiment_id, task=task, **{**FAST, **keys})

    def write_plain(self, experiment_id: str, **keys: Any) -> None:
        """Write an experiment's file with nothing but these keys."""
        path = self.folder / "experiments" / f"{experiment_id}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml(keys))

    def run(self, experiment_id: str, job: str = "job_experiment", assets=None, config=None, resources=None):
        self.instance.add_dynamic_partitions("experiments", [experiment_id])
        definitions = build_defs({**resources_for(self.store), **(resources or {})})
        return definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=experiment_id,
            asset_selection=[dg.AssetKey(name.split("/")) for name in assets] if assets else None,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **(config or {})},
            raise_on_error=False,
        )

    def materialize(self, experiment_id: str, assets: list[str]) -> dg.ExecuteInProcessResult:
        """Run assets chosen by hand, as the button Materialize does."""
        self.instance.add_dynamic_partitions("experiments", [experiment_id])
        definitions = build_defs(resources_for(self.store))
        keys = [dg.AssetKey(name.split("/")) for name in assets]
        return definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            partition_key=experiment_id,
            asset_selection=keys,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )

    def operate(self, job: str, **ops: Any):
        """Run a job of ops with their configuration."""
        return (
            build_defs(resources_for(self.store))
            .resolve_job_def(job)
            .execute_in_process(
                instance=self.instance,
                run_config={
                    "ops": {name: {"config": config} for name, config in ops.items()},
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
                raise_on_error=False,
            )
        )

    def locate(self, **urls: Any) -> None:
        """Name further locations of experiments."""
        (self.folder / "locations.yaml").write_text(to_yaml({name: {"url": str(url)} for name, url in urls.items()}))

    @staticmethod
    def failure(result) -> str:
        """Return the reasons of all failed steps."""
        failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        return "\n".join(
            each.user_failure_data.description if each.user_failure_data else str(each.error) for each in failed
        )

    def outdated(self, experiment_id: str):
        """Return the assets that automation would request: those whose recorded version is out of date."""
        spec = self.store.specs.load(experiment_id)
        source = content_digest(stage_config(spec, experiment_id, "generated_images"), self.store.path)
        recorded = InstanceRunRecords(self.instance).recorded([experiment_id])[experiment_id]
        return outdated(expected_versions(spec, experiment_id, source), recorded)

    def results(self, experiment_id: str):
        return stage_results(self.folder / "storage", experiment_id)


@pytest.fixture
def lab(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(tmp_path, instance)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """A lab in which ``one`` ran, and then ``two``, which differs in training only."""
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path_factory.mktemp("lab"), instance)
        lab.write("one")
        lab.write("two", trained_model={"train_params": {"epochs": 3}})
        first = lab.run("one")
        before = {path: path.stat().st_mtime_ns for path in (lab.folder / "storage" / "data").rglob("*")}
        yield lab, first, before, lab.run("two")


class Automation:
    """Ticks of the sensor and the runs that it requests."""

    def __init__(self, lab):
        self.lab = lab
        self.cursor = None
        self.definitions = build_defs(resources_for(lab.store))
        self.job = self.definitions.resolve_job_def("job_experiment")

    def write(self, experiment_id, **keys):
        self.lab.write(experiment_id, **keys)
        self.age(self.path(experiment_id))

    def change(self, experiment_id, **keys):
        """Save an experiment again with other keys."""
        write_text(self.path(experiment_id), to_yaml(merged(load_values(self.path(experiment_id)), keys)))
        self.age(self.path(experiment_id))

    def path(self, experiment_id):
        return self.lab.folder / "experiments" / f"{experiment_id}.yaml"

    @staticmethod
    def age(path, seconds=5):
        """Let a file look as if it had been saved a while ago, and every save at another time."""
        moment = time.time_ns() - seconds * 1_000_000_000
        os.utime(path, ns=(moment, moment))

    def tick(self):
        with dg.build_sensor_context(
            instance=self.lab.instance, cursor=self.cursor, resources={"store": self.lab.store}
        ) as context:
            result = follow_files(context)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.lab.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests:
            self.lab.instance.add_dynamic_partitions("experiments", list(request.partition_keys))
        return result

    def run(self, request):
        return self.job.execute_in_process(
            instance=self.lab.instance,
            partition_key=request.partition_key,
            asset_selection=list(request.asset_selection),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={**request.tags, SENSOR_TAG: follow_files.name, RUN_KEY_TAG: request.run_key},
            raise_on_error=False,
        )


@pytest.fixture(scope="module")
def settled(tmp_path_factory):
    """Automation with one experiment, which is up to date."""
    with dg.DagsterInstance.ephemeral() as instance:
        automation = Automation(Lab(tmp_path_factory.mktemp("lab"), instance))
        automation.write("one")
        (request,) = automation.tick().run_requests
        assert len(request.asset_selection) == 10 + 8 + 1
        assert automation.run(request).success
        assert not automation.tick().run_requests
        yield automation
