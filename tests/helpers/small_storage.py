"""A small storage whose experiments have three stages, for the tests of what is deleted."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assay.experiments.contents import stage_results, write_pointer
from assay.experiments.folders import ExperimentFolders
from assay.experiments.garbage import collect_garbage, find_garbage
from assay.experiments.specs import SpecFiles
from assay.pipeline import StageConfig
from assay.storage.partitions import place_of
from assay.storage.results import Result, ResultStore
from tests.helpers.results import Section


@dataclass(frozen=True)
class Lab:
    """A storage whose experiments have three stages, each of a file of a few bytes."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "storage"

    @property
    def specs(self) -> SpecFiles:
        return SpecFiles(self.folder / "experiments", self.root)

    @property
    def store(self) -> ResultStore:
        return ResultStore(self.root)

    def spec(self, name: str) -> Path:
        return self.specs.path(name)

    def write(self, name: str) -> None:
        self.specs.folder.mkdir(exist_ok=True)
        self.spec(name).write_text("task: regression\n")

    def stage(self, name: str, stage: str, inputs: dict[str, Any], digest: str = "d") -> Result:
        """Build, or find, the result of a stage, and publish it."""

        def publish(result: Result) -> None:
            ExperimentFolders(self.root).publish(name, result)
            write_pointer(self.root, name, stage, result)

        config = StageConfig(name, stage, "regression", 42, Section(), digest)
        with self.store.build(config, inputs, publish=publish) as build:
            if build.needed:
                (build.folder / "file").write_text(digest)
                build.report = {"rows": 1}
        return build.result

    def run(self, name: str, digest: str = "d") -> dict[str, Result]:
        """Run an experiment; those of the same digest share everything."""
        self.write(name)
        ExperimentFolders(self.root).open(name, self.specs.load(name))
        place_of(self.root, "main", "experiments", "experiment_id", name).write(_row())
        images = self.stage(name, "generated_images", {}, digest)
        splits = self.stage(name, "splits", {"generated_images": images}, digest)
        self.stage(name, "crops", {"splits": splits}, digest)
        return stage_results(self.root, name)

    def path(self, name: str) -> Path:
        found = ExperimentFolders(self.root).find(name)
        assert found is not None
        return found.path

    def find(self):
        return find_garbage(self.root, self.specs)

    def collect(self, garbage=None):
        return collect_garbage(self.root, self.specs, self.find() if garbage is None else garbage, settled_s=0)


def _row():
    import polars as pl

    return pl.DataFrame({"task": ["regression"]})


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    """Make a storage with the experiments ``one`` and ``two``, which share nothing."""
    lab = Lab(tmp_path_factory.mktemp("pattern"))
    lab.run("one", "1")
    lab.run("two", "2")
    return lab.folder


@pytest.fixture
def lab(pattern, tmp_path):
    """Give a copy of that storage."""
    return Lab(shutil.copytree(pattern, tmp_path / "lab", symlinks=True))
