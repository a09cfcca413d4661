"""A project with spec files and an orchestrator that runs nothing: tests set what it has recorded."""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from assay.automation.reconcile import MAX_RUNS, EndedRun, Reconciliation, expected_versions
from assay.automation.state import AutomationState, load_state
from assay.experiments.specs import SpecFiles
from assay.spec.yaml_text import to_yaml


@dataclass
class InMemoryRecords:
    """Run records in memory."""

    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    others: int = 0
    ended: dict[str, EndedRun] = field(default_factory=dict)

    def active(self, experiment_ids):
        return self.busy & set(experiment_ids)

    def active_count(self):
        return len(self.busy) + self.others

    def unsuccessful(self, experiment_ids):
        return {name: run for name, run in self.ended.items() if name in experiment_ids}

    def recorded(self, experiment_ids):
        return {name: self.versions.get(name, {}) for name in experiment_ids}


class Project:
    """A folder of spec files, its run records, and the state between two passes."""

    def __init__(self, folder: Path):
        self.specs = SpecFiles(folder / "experiments", folder / "storage")
        self.records = InMemoryRecords()
        self.state = AutomationState()
        self.max_runs = MAX_RUNS
        self.code_since = 0.0
        self._saves = 0

    def save(self, name, text=None, **keys):
        path = self.specs.folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(to_yaml({"task": "regression", **keys}) if text is None else text)
        self._saves += 1
        self.age(path, 3600 - self._saves)

    @staticmethod
    def age(path, seconds=60.0):
        moment = time.time_ns() - int(seconds * 1e9)
        os.utime(path, ns=(moment, moment))

    def reconcile(self, code="1"):
        """Run one pass; the state goes through its text form, as between two ticks."""
        state = load_state(self.state.dump())
        # A snapshot of user data that took no time is always due.
        state.sources = {place: replace(snapshot, took_s=0.0) for place, snapshot in state.sources.items()}
        reconciliation = Reconciliation(state, self.specs, self.records, self.max_runs, code_since=self.code_since)
        plan = reconciliation.reconcile(code)
        self.state = reconciliation.state
        return plan

    def settle(self, *names):
        """Save experiments and fulfil the requests that follow."""
        for name in names:
            self.save(name)
        for request in self.reconcile().requests:
            self.finish(request)
        assert self.reconcile().requests == []

    def finish(self, request, source=""):
        """Record what a successful run of a request would record."""
        expected = expected_versions(request.spec, request.experiment_id, source)
        self.records.versions.setdefault(request.experiment_id, {}).update(
            {name: expected[name] for name in request.assets}
        )


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
