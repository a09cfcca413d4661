"""A folder of spec files, and an orchestrator that runs nothing: tests say what it has recorded."""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from assay.automation.reconcile import MOST_RUNS, Reconciliation, wanted_versions
from assay.automation.state import Memory, load_memory
from assay.experiments.specs import SpecFiles
from assay.spec.yaml_text import to_yaml


@dataclass
class Books:
    """A ledger in memory."""

    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    others: int = 0
    stopped: dict[str, float] = field(default_factory=dict)

    def active(self, experiment_ids):
        return self.busy & set(experiment_ids)

    def active_count(self):
        return len(self.busy) + self.others

    def cancelled(self, experiment_ids):
        return self.stopped

    def recorded(self, experiment_ids):
        return {name: self.versions.get(name, {}) for name in experiment_ids}


class Desk:
    """Somebody who saves files, and the looks at them."""

    def __init__(self, folder: Path):
        self.specs = SpecFiles(folder / "experiments", folder / "storage")
        self.books = Books()
        self.memory = Memory()
        self.most_runs = MOST_RUNS
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

    def look(self, code="1"):
        """Look once, at data as well; the memory goes through its text form, as between two ticks."""
        memory = load_memory(self.memory.dump())
        # A look at data that took no time is repeated every time.
        memory.sources = {place: replace(look, took_s=0.0) for place, look in memory.sources.items()}
        looking = Reconciliation(memory, self.specs, self.books, self.most_runs)
        plan = looking.look(code)
        self.memory = looking.memory
        return plan

    def settle(self, *names):
        """Save experiments and let what is asked for come about."""
        for name in names:
            self.save(name)
        for request in self.look().requests:
            self.finish(request)
        assert self.look().requests == []

    def finish(self, request, source=""):
        """Record what a successful run of a request would."""
        wanted = wanted_versions(request.spec, request.experiment_id, source)
        self.books.versions.setdefault(request.experiment_id, {}).update(
            {name: wanted[name] for name in request.assets}
        )


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)
