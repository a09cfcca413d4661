"""A store of its own for each test, and runs of the real jobs in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assay.experiments.contents import stage_results
from assay.spec.yaml_text import to_yaml
from definitions import build_defs
from resources.defaults import resources_for
from resources.experiment_store import ExperimentStore
from resources.progress import ProgressReporter

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

    @property
    def store(self) -> ExperimentStore:
        return ExperimentStore(
            root=str(self.folder / "storage"),
            experiments_folder=str(self.folder / "experiments"),
            reporter=ProgressReporter(),
        )

    def write(self, experiment_id: str, task: str = "regression", **keys: Any) -> None:
        path = self.folder / "experiments" / f"{experiment_id}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml({"task": task, **FAST, **keys}))

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

    @staticmethod
    def failure(result) -> str:
        """Return the reasons of all failed steps."""
        failed = [event.step_failure_data for event in result.all_events if event.is_step_failure]
        return "\n".join(
            each.user_failure_data.description if each.user_failure_data else str(each.error) for each in failed
        )

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
