"""The small experiments of all families, trained once for all tests of a process."""

import pytest

from tests.helpers.trained import TrainedProject, make_trained_project


@pytest.fixture(scope="session")
def trained_families(tmp_path_factory) -> TrainedProject:
    return make_trained_project(tmp_path_factory.mktemp("families"))


@pytest.fixture
def families(trained_families, monkeypatch) -> TrainedProject:
    """Give the project with an experiment of every family, as the one of this process."""
    trained_families.enter(monkeypatch)
    return trained_families
