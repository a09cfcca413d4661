"""The helper that starts Dagster's processes: what it kills is dead, what it starts answers."""

import psutil
import pytest

from tests.helpers.servers import wait_until

pytestmark = pytest.mark.system


def test_a_killed_daemon_takes_its_children_with_it_and_can_be_started_again(servers):
    servers.start_webserver()
    assert servers.graphql("query { version }")["version"]
    servers.start_daemon()
    daemon = psutil.Process(servers.processes["daemon"].pid)
    code_server = wait_until(daemon.children, "the code server runs")[0]
    servers.kill("daemon")
    assert not daemon.is_running()
    assert not code_server.is_running()
    assert servers.graphql("query { version }")["version"]
    servers.start_daemon()
    servers.close()
    assert servers.everything() == []
