"""The small experiments of all families, trained once for all processes of a test run."""

import os

import pytest
from filelock import FileLock

from tests.helpers.trained import TrainedProject, make_trained_project


@pytest.fixture(scope="session")
def trained_families(tmp_path_factory) -> TrainedProject:
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "families"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if done.exists():
            return TrainedProject(folder)
        folder.mkdir()
        project = make_trained_project(folder)
        done.touch()
    return project


@pytest.fixture
def families(trained_families, monkeypatch) -> TrainedProject:
    """Give the project with an experiment of every family, as the one of this process."""
    trained_families.enter(monkeypatch)
    return trained_families
