"""The server's conditions: the extra is installed, the port is free."""

import socket
import sys
from contextlib import closing

import pytest

from assay.cli.main import main
from assay.dashboard.server import OPTIONS, require_extra, require_port
from assay.errors import AssayError, ServerError


@pytest.fixture
def taken():
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_that_is_taken_names_a_free_one(taken):
    with pytest.raises(
        ServerError, match=rf"127\.0\.0\.1:{taken} is taken.*Free: assay dashboard --port \d+"
    ) as caught:
        require_port(taken)
    require_port(int(str(caught.value).rpartition(" ")[2]))


def test_the_command_reports_a_taken_port_in_one_line(taken, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["assay", "dashboard", "--no-browser", "--port", str(taken)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(f"error: 127.0.0.1:{taken} is taken")


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    require_extra()
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(AssayError, match=r"needs altair\. Install it: pip install 'assay\[dashboard\]'"):
        require_extra()


def test_the_server_listens_on_this_machine_only_and_sends_no_statistics():
    assert OPTIONS["server.address"] == "127.0.0.1"
    assert OPTIONS["browser.gatherUsageStats"] is False
