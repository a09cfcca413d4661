"""A project with web server and daemon, and its Dagster instance's records: runs, materializations, ticks.

Belongs here: querying and waiting. Does not belong here: what a test does to the project.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest

from assay.pipeline import STAGES
from resources.instance.home import prepare
from resources.instance.run_records import is_file_run
from tests.helpers.projects import Project, make_project
from tests.helpers.servers import Servers, serve, wait_until

FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}


class Story:
    """A project under automation, and the records of its Dagster instance."""

    def __init__(self, project: Project, servers: Servers, instance: dg.DagsterInstance) -> None:
        self.project = project
        self.servers = servers
        self.instance = instance

    def made(self, experiment_id):
        """Return how often each asset of an experiment was materialized."""
        counts = Counter()
        for asset in ("experiment", *STAGES):
            key = dg.AssetKey(asset)
            records = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[experiment_id])
            counts[asset] = len(self.instance.fetch_materializations(records, limit=100).records)
        return counts

    def runs(self, experiment_id):
        """Return the runs of an experiment that made something, oldest first; not those that only read its file."""
        filters = dg.RunsFilter(tags={"dagster/partition": experiment_id})
        records = self.instance.get_run_records(filters, ascending=True)
        return [record for record in records if not is_file_run(record.dagster_run)]

    def reasons(self, experiment_id):
        """Return why each of these runs was started."""
        return [record.dagster_run.tags.get("assay/reason", "") for record in self.runs(experiment_id)]

    def file_check(self, experiment_id):
        """Return whether the check of the experiment's file passed the last time, and what it said."""
        key = dg.AssetCheckKey(dg.AssetKey("experiment"), "spec_is_valid")
        for record in self.instance.event_log_storage.get_asset_check_execution_history(key, limit=200):
            found = record.event.dagster_event.event_specific_data if record.event else None
            if isinstance(found, dg.AssetCheckEvaluation) and found.partition == experiment_id:
                return found.passed, found.description
        return None, ""

    def wait_for_runs(self, experiment_id, count):
        """Wait until an experiment has had this many runs, all finished, and return the last one's status."""

        def finished():
            runs = self.runs(experiment_id)
            return len(runs) >= count and all(run.dagster_run.status.value in FINISHED for run in runs)

        wait_until(finished, f"{count} runs of {experiment_id}", timeout_s=150)
        runs = self.runs(experiment_id)
        assert len(runs) == count, [(run.dagster_run.status, run.dagster_run.tags) for run in runs]
        return runs[-1].dagster_run.status.value

    def tick(self, sensor="follow_files"):
        """Wait until a tick that began after this call is over."""
        called = time.time()

        def later():
            ticks = self.sensor(sensor)["sensorState"]["ticks"]
            return [tick for tick in ticks if tick["timestamp"] > called and tick["status"] != "STARTED"]

        return wait_until(later, f"a tick of {sensor}", timeout_s=90)

    def switch_on(self, sensor):
        """Start a sensor, as the switch in the UI does."""
        mutation = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
            __typename ... on Error { message } } }"""
        place = {"repositoryName": "__repository__", "repositoryLocationName": "definitions"}
        started = self.servers.graphql(mutation, selector={"sensorName": sensor, **place})["startSensor"]
        assert started["__typename"] == "Sensor", started

    def switch_off(self, sensor):
        """Stop a sensor, as the switch in the UI does."""
        mutation = """mutation($id: String!) { stopSensor(id: $id) { __typename ... on Error { message } } }"""
        stopped = self.servers.graphql(mutation, id=self.sensor(sensor)["id"])["stopSensor"]
        assert stopped["__typename"] == "StopSensorMutationResult", stopped

    def is_running(self, sensor):
        """Return whether a sensor is switched on."""
        return self.sensor(sensor)["sensorState"]["status"] == "RUNNING"

    def sensor(self, name):
        """Return the state and the latest ticks of a sensor."""
        query = """query($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
            ... on Sensor { id sensorState { status ticks(limit: 5) { timestamp status } } } } }"""
        place = {"repositoryName": "__repository__", "repositoryLocationName": "definitions"}
        return self.servers.graphql(query, selector={"sensorName": name, **place})["sensorOrError"]

    def observed(self, experiment_id):
        """Return the last message about the experiment's file."""
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("experiment"), asset_partitions=[experiment_id])
        records = self.instance.fetch_observations(filters, limit=1).records
        return records[0].asset_observation.description if records else ""


@contextmanager
def automated_project(folder, request: pytest.FixtureRequest) -> Iterator[Story]:
    """Yield a new project without experiments whose servers are running."""
    project = make_project(folder)
    (project.folder / "experiments" / "tiny.yaml").unlink()
    with (
        dg.DagsterInstance.from_config(project.environment["DAGSTER_HOME"]) as instance,
        serve(project, request) as servers,
    ):
        prepare(instance)
        servers.start_webserver()
        servers.start_daemon()
        yield Story(project, servers, instance)
