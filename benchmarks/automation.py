"""One automation tick at 1, 200 and 5,000 experiments, nothing changed and one changed: the sensor and the condition.

``python -m benchmarks.run automation``. The instance is Dagster's usual SQLite; the experiments are all up to date.
"""

import os
import sqlite3
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import dagster as dg

from assay.automation.reconcile import expected_versions
from assay.automation.state import AutomationState, StateFiles
from assay.experiments.folders import ExperimentFolders
from assay.pipeline import STAGES, used_inputs
from assay.spec.yaml_text import to_yaml
from assay.storage.files import MANIFEST, write_json
from assets.sensors import experiment_files
from benchmarks.rows import row
from definitions import build_defs
from resources.defaults import resources_for
from resources.experiment_store import ExperimentStore
from resources.progress import ProgressReporter
from resources.tracking import Tracker

SIZES = (1, 200, 5000)
IDLE_TARGETS_S = {1: 0.5, 200: 0.5, 5000: 10.0}
CHANGED_TARGETS_S = {1: 2.0, 200: 2.0, 5000: 10.0}
REPEATS = 3


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Measure; ``quick`` takes few experiments, to see that it runs."""
    warnings.simplefilter("ignore")
    return [row for size in ((1, 5) if quick else SIZES) for row in _at(size)]


class Scene:
    """Experiments that are up to date, and an instance that has it in its books."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, size: int) -> None:
        self.folder = folder
        self.instance = instance
        self.names = [f"x{number:05d}" for number in range(size)]
        self.store = ExperimentStore(
            root=str(folder / "storage"),
            experiments_folder=str(folder / "experiments"),
            reporter=ProgressReporter(),
            tracker=Tracker(),
        )
        self.cursor: str | None = None
        os.environ["ASSAY_STORAGE"] = self.store.root  # where the condition looks
        for name in self.names:
            self.save(name, seed=1)
        self._fill()

    def save(self, name: str, seed: int) -> None:
        """Write a spec file, as if a minute ago."""
        path = self.folder / "experiments" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml({"task": "regression", "seed": seed}))
        os.utime(path, (time.time() - 60 + seed, time.time() - 60 + seed))

    def tick(self) -> tuple[float, int]:
        """Let the sensor look once; returns seconds and the number of runs asked for."""
        resources = {"store": self.store}
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources=resources) as context:
            started = time.perf_counter()
            result = experiment_files(context)
            seconds = time.perf_counter() - started
        self.cursor = result.cursor
        return seconds, len(result.run_requests)

    def memory(self) -> AutomationState:
        """Return what the sensor remembers."""
        return StateFiles(self.store.path / "automation" / "experiment_files").load(self.cursor)

    def _fill(self) -> None:
        first = self.names[0]
        spec = self.store.specs.load(first)
        ExperimentFolders(self.store.path).open(first, spec)
        self.instance.add_dynamic_partitions("experiments", self.names)
        versions = expected_versions(spec, first, "")
        for stage in STAGES.keys() & versions.keys():
            inputs = {name: versions[name] for name in used_inputs(spec, stage)}
            write_json(self.store.path / "data" / stage / versions[stage] / MANIFEST, {"inputs": inputs})
        for asset, version in versions.items():
            tags = {"dagster/data_version": version}
            event = dg.AssetMaterialization(asset.split("/"), partition=first, tags=tags)
            self.instance.report_runless_asset_event(event)
        copy_events(self.folder, first, self.names[1:])


def copy_events(folder: Path, first: str, names: list[str]) -> None:
    """Write for each name what was recorded of the first: 5,000 experiments by Dagster's own means take minutes."""
    (database,) = folder.glob("history/runs/index.db")
    with sqlite3.connect(database) as connection:
        connection.executemany(
            "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition) "
            "SELECT run_id, replace(event, ?1, ?2), dagster_event_type, timestamp, step_key, asset_key, ?2 "
            "FROM event_logs WHERE partition = ?1",
            [(first, name) for name in names],
        )
        connection.execute(
            "INSERT INTO asset_event_tags (event_id, asset_key, key, value, event_timestamp) "
            "SELECT copy.id, copy.asset_key, tag.key, tag.value, copy.timestamp FROM event_logs AS copy "
            "JOIN event_logs AS original ON original.asset_key = copy.asset_key AND original.partition = ? "
            "JOIN asset_event_tags AS tag ON tag.event_id = original.id WHERE copy.partition != ?",
            [first, first],
        )


def _at(size: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        scene = Scene(Path(folder), instance, size)
        while scene.memory().dirty or not scene.cursor:
            _, asked = scene.tick()
            assert not asked, "the experiments are not up to date"
        return [*_sensor(scene, size), *_condition(scene, size)]


def _sensor(scene: Scene, size: int) -> list[dict[str, Any]]:
    idle = min(scene.tick()[0] for _ in range(REPEATS))
    scene.save(scene.names[0], seed=2)
    changed, asked = scene.tick()
    assert asked == 1
    scene.save(scene.names[0], seed=1)
    note = f"state between ticks: {len(scene.memory().dump()) / 1e3:.0f} kB"
    return [
        row(f"file sensor, {size} experiments, nothing changed", idle, IDLE_TARGETS_S.get(size), note),
        row(f"file sensor, {size} experiments, one changed", changed, CHANGED_TARGETS_S.get(size)),
    ]


def _condition(scene: Scene, size: int) -> list[dict[str, Any]]:
    definitions = build_defs(resources_for(scene.store))
    cursor, seconds = None, []
    for _ in range(REPEATS):
        started = time.perf_counter()
        result = dg.evaluate_automation_conditions(definitions, scene.instance, cursor=cursor)
        seconds.append(time.perf_counter() - started)
        cursor = result.cursor
        assert result.total_requested == 0
    event = dg.AssetMaterialization("splits", partition=scene.names[0], tags={"dagster/data_version": "another"})
    scene.instance.report_runless_asset_event(event)
    started = time.perf_counter()
    result = dg.evaluate_automation_conditions(definitions, scene.instance, cursor=cursor)
    changed = time.perf_counter() - started
    assert result.total_requested
    return [
        row(f"condition, {size} experiments, nothing changed", min(seconds), IDLE_TARGETS_S.get(size)),
        row(f"condition, {size} experiments, one input changed", changed, CHANGED_TARGETS_S.get(size)),
    ]
