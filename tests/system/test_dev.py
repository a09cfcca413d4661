"""``make dev`` as a process: what its terminal shows from the start to Ctrl-C, and what is left of it."""

import signal
import socket
from contextlib import suppress

import pytest

from tests.helpers.projects import TINY
from tests.helpers.servers import CODE, WEB, wait_until

pytestmark = pytest.mark.system

BROKEN = TINY.replace("task: regression", "task: regresion")


def lines(servers, name="dev"):
    return (servers.logs / f"{name}.log").read_text().splitlines()


def test_the_terminal_shows_the_address_errors_of_the_user_and_a_quiet_end(project, servers):
    (project.folder / "experiments" / "tiny.yaml").unlink()
    with socket.socket() as used:
        with suppress(OSError):  # then somebody else uses it
            used.bind(("127.0.0.1", 3000))
            used.listen()
        servers.start("dev", *WEB, "dev", *CODE)
        wait_until(lambda: "Open http" in "\n".join(lines(servers)), "the address is printed")
    port, start, no_experiments, address = lines(servers)
    assert port.startswith("Port 3000 is used by another program, so it is ")
    assert start.startswith("Starting Dagster")
    assert "experiments/examples" in no_experiments
    servers.port = int(address.rpartition(":")[2])
    assert servers.graphql("query { version }")["version"]

    assert project.assay("backfills") == (
        0,
        "There are no backfills. Start one: assay backfill --where \"task = 'regression'\"\n",
    )
    servers.start("second", *WEB, "dev", *CODE)
    assert servers.processes.pop("second").wait(60) == 1
    assert lines(servers, "second")[-1].startswith(f"error: Dagster runs already: {servers.url}")

    project.write("broken", BROKEN)
    wait_until(lambda: "regresion" in "\n".join(lines(servers)), "the mistake is shown")
    assert "Did you mean 'regression'?" in "\n".join(lines(servers))
    process = servers.processes.pop("dev")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert lines(servers)[-1].startswith("Stopped.")
    assert not [line for line in lines(servers) if "INFO" in line or "WARN" in line or "Traceback" in line]
    wait_until(lambda: servers.everything() == [], "only runs outlive it, and this one has ended too")
    assert "http://127.0.0.1:3000" in project.assay("backfills")[1]


def test_a_port_that_was_asked_for_and_is_used_is_one_sentence(project, servers):
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        servers.start("dev", *WEB, "dev", "--port", str(used.getsockname()[1]), *CODE)
        assert servers.processes.pop("dev").wait(60) == 1
        (line,) = lines(servers)
        assert line.startswith(f"error: Port {used.getsockname()[1]} is used by another program. Choose another: ")
