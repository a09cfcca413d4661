"""Real processes in a temporary project: the command line, the web server, the daemon, a browser."""

import pytest

from tests.helpers.projects import Project, make_project
from tests.helpers.servers import serve


@pytest.fixture
def project(tmp_path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def module_project(tmp_path_factory) -> Project:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def servers(project, request):
    """Web server and daemon of ``project``, neither started yet; all processes end with the test."""
    with serve(project, request) as servers:
        yield servers
