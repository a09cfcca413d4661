"""A temporary project with its own experiments, storage and Dagster home, and commands run in it."""

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.storage.partitions import SEAL

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

TINY = """\
task: regression
name: tiny
generated_images:
  source: {kind: numbers, sample_count: 12, img_size: {width: 96, height: 96}, max_amount: 3}
trained_model:
  train_params: {epochs: 2}
analysis:
  result_analyzer: {bootstrap_samples: 50}
exptests: {tests: [{kind: split_leakage}, {kind: models_saved}, {kind: files_exist}, {kind: no_missing_values}]}
"""


@dataclass(frozen=True)
class Project:
    """A folder with its own experiments, storage and Dagster home."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        variables = {
            "ASSAY_STORAGE": str(self.folder / "storage"),
            "ASSAY_EXPERIMENTS": str(self.folder / "experiments"),
            "ASSAY_LOCATIONS": str(self.folder / "locations.yaml"),
            "DAGSTER_HOME": str(self.folder / "home"),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        return {**os.environ, **variables}

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    def write_tiny(self) -> None:
        """Write the experiment ``tiny``, which takes seconds."""
        self.write("tiny", TINY)

    def write(self, experiment_id: str, text: str) -> None:
        path = self.folder / "experiments" / f"{experiment_id}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def spec(self, experiment_id: str) -> str:
        return (self.folder / "experiments" / f"{experiment_id}.yaml").read_text()

    def start(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,
        )

    def assay(self, *arguments: str, timeout: float = 300) -> tuple[int, str]:
        process = self.start("assay", *arguments)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output


def digests(storage: Path) -> dict[str, str]:
    """Hash every result file and table.

    Left out are the table of experiments, which holds the run's random ID, that of costs, which differ from run to run,
    and the seals, which hold inodes and times.
    """
    found = {}
    for folder in ("data", "tables"):
        for path in sorted((storage / folder).rglob("*")):
            name = re.sub(r"version-[0-9a-f]+/", "", path.relative_to(storage).as_posix())
            if path.is_file() and not {"experiments", "costs"} & set(name.split("/")) and path.name != SEAL:
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def make_project(folder: Path) -> Project:
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    project = Project(folder)
    project.write_tiny()
    return project
