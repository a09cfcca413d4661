"""Asking a server over HTTP: every way in which it can fail to answer is one message with the next step."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from assay.backfills.dagster_server import DagsterServer, expect
from assay.errors import ServerError


class Handler(BaseHTTPRequestHandler):
    """Gives the answer that the test left in ``answer``: a status and a body."""

    answer = (200, "{}")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, body = type(self).answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write((body or json.dumps({"data": asked})).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield DagsterServer(f"http://127.0.0.1:{http.server_port}/", timeout_s=60)
        http.shutdown()
        thread.join()


def test_a_query_is_sent_with_its_variables(server, monkeypatch):
    monkeypatch.setattr(Handler, "answer", (200, ""))
    assert server.ask("{ version }", limit=3) == {"query": "{ version }", "variables": {"limit": 3}}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, "not found"), "is not Dagster's web server: 404"),
        ((403, "This server answers only as x.\nmore"), r"refused: This server answers only as x\.$"),
        ((500, ""), "is not Dagster's web server: 500"),
        ((200, "<html>hello</html>"), "is not Dagster's web server"),
        ((200, "[]"), "is not Dagster's web server"),
        ((400, '{"errors": [{"message": "Unknown field"}]}'), "refused: Unknown field"),
        ((200, '{"data": null, "errors": [{"message": "no"}]}'), "refused: no"),
    ],
)
def test_an_invalid_answer_is_one_message(server, monkeypatch, answer, message):
    monkeypatch.setattr(Handler, "answer", answer)
    with pytest.raises(ServerError, match=message):
        server.ask("{ version }")


def test_a_missing_server_says_how_to_start_one():
    with pytest.raises(ServerError, match=r"'make dev'.*assay run ID"):
        DagsterServer("http://127.0.0.1:9").ask("{ version }")


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd", "http://"])
def test_an_invalid_address_is_refused(url):
    with pytest.raises(ServerError, match=r"http://127\.0\.0\.1:3000"):
        DagsterServer(url).ask("{ version }")


def test_another_member_of_a_union_is_an_error_with_its_reason():
    assert expect({"__typename": "Run", "id": 1}, "Run")["id"] == 1
    with pytest.raises(ServerError, match=r"Dagster refused \(UnauthorizedError\): read only"):
        expect({"__typename": "UnauthorizedError", "message": "read only"}, "Run")
