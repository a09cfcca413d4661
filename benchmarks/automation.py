"""One automation tick at 1, 200 and 5,000 experiments, nothing changed and one changed: the sensor and the condition.

The instance is Dagster's usual SQLite; the experiments are all up to date. Medians of a few ticks each.
"""

import os
import sqlite3
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg

from assay.automation.reconcile import expected_versions
from assay.automation.state import AutomationState, StateFiles
from assay.experiments.folders import ExperimentFolders
from assay.pipeline import STAGES, used_inputs
from assay.spec.yaml_text import to_yaml
from assay.storage.files import MANIFEST, write_json
from assets.sensors import follow_files
from benchmarks.rows import Row, at_most
from definitions import build_defs
from resources.defaults import resources_for
from resources.experiment_store import ExperimentStore
from resources.progress import ProgressReporter
from resources.tracking import Tracker

REPEATS = 5
MOST_S = {
    "sensor": {1: (0.0075, 0.07), 200: (0.022, 0.13), 5000: (0.12, 0.18)},
    "condition": {1: (0.09, 0.18), 200: (0.11, 0.19), 5000: (0.22, 0.29)},
}
"""Seconds of a tick by number of experiments: nothing changed, one changed."""
SMALL = (2, 5)
"""Numbers of experiments that only show that it runs."""


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few experiments, to see that it runs."""
    warnings.simplefilter("ignore")
    return [row for size in (SMALL if quick else MOST_S["sensor"]) for row in _at(size)]


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
            result = follow_files(context)
            seconds = time.perf_counter() - started
        self.cursor = result.cursor
        return seconds, len(result.run_requests)

    def memory(self) -> AutomationState:
        """Return what the sensor remembers."""
        return StateFiles(self.store.path / "automation" / "follow_files").load(self.cursor)

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


def _at(size: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.local_temp(folder) as instance:
        scene = Scene(Path(folder), instance, size)
        while scene.memory().dirty or not scene.cursor:
            _, asked = scene.tick()
            assert not asked, "the experiments are not up to date"
        return [*_sensor(scene, size), *_condition(scene, size)]


def _sensor(scene: Scene, size: int) -> list[Row]:
    idle, changed = [], []
    for seed in range(2, 2 + REPEATS):
        seconds, asked = scene.tick()
        assert asked == 0
        idle.append(seconds)
        scene.save(scene.names[0], seed=seed)
        seconds, asked = scene.tick()
        assert asked == 1
        changed.append(seconds)
        scene.save(scene.names[0], seed=1)
        scene.tick()
    state = f"state between ticks: {len(scene.memory().dump()) / 1e3:.0f} kB"
    return _rows("file sensor", size, MOST_S["sensor"], ("nothing changed", idle, state), ("one changed", changed, ""))


def _condition(scene: Scene, size: int) -> list[Row]:
    definitions = build_defs(resources_for(scene.store))
    cursor, idle, changed = None, [], []
    for number in range(REPEATS + 1):
        seconds, result = _evaluated(definitions, scene.instance, cursor)
        assert result.total_requested == 0
        idle.append(seconds)
        _replace_input(scene, f"another {number}")
        seconds, result = _evaluated(definitions, scene.instance, result.cursor)
        assert result.total_requested
        changed.append(seconds)
        _, result = _evaluated(definitions, scene.instance, result.cursor)
        cursor = result.cursor
    first_is_new = slice(1, None)  # what it remembers of the experiments was not there yet
    return _rows(
        "condition",
        size,
        MOST_S["condition"],
        ("nothing changed", idle[first_is_new], ""),
        ("one input changed", changed[first_is_new], ""),
    )


def _evaluated(definitions: dg.Definitions, instance: dg.DagsterInstance, cursor: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
    return time.perf_counter() - started, result


def _replace_input(scene: Scene, version: str) -> None:
    """Record another version of an input of the first experiment."""
    event = dg.AssetMaterialization("splits", partition=scene.names[0], tags={"dagster/data_version": version})
    scene.instance.report_runless_asset_event(event)


def _rows(
    what: str, size: int, most_s: dict[int, tuple[float, float]], *measured: tuple[str, list[float], str]
) -> list[Row]:
    limits = most_s.get(size, (0.0, 0.0))
    return [
        Row(
            f"{what}, {size} experiment{'s' * (size > 1)}, {case}",
            median(seconds),
            target=at_most(limit, of="machine"),
            note=note,
        )
        for limit, (case, seconds, note) in zip(limits, measured, strict=True)
    ]
