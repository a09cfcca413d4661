"""Dagster's web server, as ``make dev`` starts it, obeys its own page and programs, and no page of another server."""

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.helpers.browser import open_page, shot
from tests.helpers.projects import Project, make_project
from tests.helpers.servers import CODE, WEB, Servers, serve, wait_until

pytestmark = pytest.mark.system

KEY = "planted"
ADD = (
    f'mutation {{ addDynamicPartition(partitionKey: "{KEY}", partitionsDefName: "experiments", repositorySelector: '
    '{repositoryName: "__repository__", repositoryLocationName: "definitions"}) { __typename } }'
)
KNOWN = 'query { assetNodeOrError(assetKey: {path: ["experiment"]}) { ... on AssetNode { partitionKeys } } }'
EVENTS = """query { assetOrError(assetKey: {path: ["forged"]}) { ... on Asset {
  assetMaterializations(limit: 9) { runId } assetObservations(limit: 9) { runId } } } }"""
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVIL = {"Origin": "http://evil.example"}
IMAGE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
BODY = json.dumps({"query": ADD})
ASKED = f"/graphql?query={quote(ADD)}"
MULTIPART = f'--x\r\nContent-Disposition: form-data; name="query"\r\n\r\n{ADD}\r\n--x--\r\n'
FORGED = "/report_asset_materialization/forged"

FOREIGN = {
    "a mutation by GET": ("GET", ASKED, {}, None),
    "a mutation by GET, as a page": ("GET", ASKED, {"Accept": "text/html"}, None),
    "a mutation by GET, as an image": ("GET", ASKED, IMAGE, None),
    "a mutation by GET, path with a line break": ("GET", ASKED.replace("graphql?", "graphql%0A?"), {}, None),
    "a mutation by GET, escaped path": ("GET", ASKED.replace("graphql", "%67raphql"), {}, None),
    "a mutation by HEAD": ("HEAD", ASKED, {}, None),
    "a form": ("POST", ASKED, FORM, "a=b"),
    "a form with a query": ("POST", "/graphql", FORM, f"query={quote(ADD)}"),
    "plain text": ("POST", "/graphql", {"Content-Type": "text/plain"}, BODY),
    "plain text that calls itself JSON": ("POST", "/graphql", {"Content-Type": "text/plain; application/json"}, BODY),
    "GraphQL without JSON": ("POST", "/graphql", {"Content-Type": "application/graphql"}, ADD),
    "several parts": ("POST", "/graphql", {"Content-Type": "multipart/form-data; boundary=x"}, MULTIPART),
    "no type": ("POST", ASKED, {}, None),
    "JSON of a foreign page": ("POST", "/graphql", {**JSON, **EVIL}, BODY),
    "JSON of a page without an origin": ("POST", "/graphql", {**JSON, "Origin": "null"}, BODY),
    "JSON of another local port": ("POST", "/graphql", {**JSON, "Origin": "http://127.0.0.1:8888"}, BODY),
    "JSON of another local name": ("POST", "/graphql", {**JSON, "Origin": "http://localhost"}, BODY),
    "JSON to another host": ("POST", "/graphql", {**JSON, "Host": "evil.example"}, BODY),
    "JSON to another host, its page": ("POST", "/graphql", {**JSON, **EVIL, "Host": "evil.example"}, BODY),
    "JSON to a host like ours": ("POST", "/graphql", {**JSON, "Host": "127.0.0.1.evil.example"}, BODY),
    "JSON of a frame": ("POST", "/graphql", {**JSON, **FRAME}, BODY),
    "a preflight": ("OPTIONS", "/graphql", {**EVIL, "Access-Control-Request-Method": "POST"}, None),
    "PUT": ("PUT", "/graphql", {**JSON, **EVIL}, BODY),
    "a forged result": ("POST", FORGED, EVIL, None),
    "a forged result as plain text": ("POST", FORGED, {"Content-Type": "text/plain"}, "{}"),
    "a forged result without type": ("POST", FORGED, {}, None),
    "a forged check": ("POST", "/report_asset_check/forged?check_name=a&passed=true", EVIL, None),
    "a forged observation": ("POST", "/report_asset_observation/forged", EVIL, None),
    "logs in another page": ("GET", "/logs/a/b.out", IMAGE, None),
    "logs of another host": ("GET", "/logs/a/b.out", {"Host": "evil.example"}, None),
    "a run's file in another page": ("GET", "/download_debug/x", {**IMAGE, "Sec-Fetch-Site": "same-site"}, None),
    "a notebook of a foreign page": ("GET", "/notebook?path=x.ipynb&repoLocName=definitions", EVIL, None),
    "the UI in a frame": ("GET", "/", FRAME, None),
    "the UI for another host": ("GET", "/", {"Host": "evil.example"}, None),
}
"""What other pages can send: each is refused, and changes nothing."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    project = make_project(tmp_path_factory.mktemp("foreign"))
    (project.folder / "experiments" / "tiny.yaml").unlink()  # automation would run it
    return project


@pytest.fixture(scope="module")
def servers(project, request) -> Iterator[Servers]:
    """Web server, daemon and code server, by the command of ``make dev``."""
    with serve(project, request) as servers:
        servers.start("webserver", *WEB, "dev", "--host", "127.0.0.1", "--port", str(servers.port), *CODE)
        wait_until(servers.answers, "the server answers")
        wait_until(lambda: known(servers) is not None, "the definitions are loaded")
        yield servers


def known(servers):
    return servers.graphql(KNOWN)["assetNodeOrError"].get("partitionKeys")


def forged(servers):
    """Return how many events of an asset were reported that nobody made."""
    asset = servers.graphql(EVENTS)["assetOrError"]
    return len(asset["assetMaterializations"]) + len(asset["assetObservations"])


def ask(servers, method, path, headers, body):
    """Return status, headers and body of an answer; all headers but those of the transport are given."""
    connection = HTTPConnection("127.0.0.1", servers.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        content = (body or "").encode()
        for name, value in {**headers, **({"Content-Length": len(content)} if method != "GET" else {})}.items():
            connection.putheader(name, str(value))
        connection.endheaders(content)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_request_is_refused_and_changes_nothing(servers, name):
    status, headers, _ = ask(servers, *FOREIGN[name])
    assert status in (400, 403, 405, 415)
    assert not [header for header in headers if header.lower().startswith("access-control-")]
    assert KEY not in known(servers)
    assert forged(servers) == 0


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://127.0.0.1:{port}"}, {"Host": "localhost:{port}", "Origin": "http://localhost:{port}"}],
)
def test_its_own_page_and_programs_are_answered(servers, headers):
    own = {name: value.format(port=servers.port) for name, value in headers.items()}
    status, _, body = ask(servers, "POST", "/graphql", {**JSON, **own}, json.dumps({"query": "{ version }"}))
    assert (status, list(json.loads(body)["data"])) == (200, ["version"])
    status, headers, _ = ask(servers, "GET", "/", own, None)
    assert (status, headers["X-Frame-Options"]) == (200, "SAMEORIGIN")


def subscribe(servers, **options):
    """Return the first answers to a subscription to the state of the code locations."""
    address = f"ws://127.0.0.1:{servers.port}/graphql"
    with connect(address, subprotocols=["graphql-ws"], open_timeout=60, **options) as websocket:
        websocket.send(json.dumps({"type": "connection_init"}))
        return json.loads(websocket.recv(timeout=60))["type"]


def test_a_websocket_is_opened_for_its_own_page_and_for_programs(servers):
    assert subscribe(servers) == "connection_ack"
    assert subscribe(servers, origin=f"http://127.0.0.1:{servers.port}") == "connection_ack"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8888", "https://evil.example"])
def test_a_websocket_is_not_opened_for_another_page(servers, origin):
    with pytest.raises(InvalidStatus) as refused:
        subscribe(servers, origin=origin)
    assert refused.value.response.status_code == 403


def test_a_websocket_is_not_opened_for_another_host(servers):
    lines = [
        "GET /graphql HTTP/1.1",
        "Host: evil.example",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: graphql-ws",
        "",
        "",
    ]
    with socket.create_connection(("127.0.0.1", servers.port), timeout=60) as opened:
        opened.sendall("\r\n".join(lines).encode())
        assert opened.recv(100).split()[1] in (b"403", b"400")


PAGE = """<!doctype html><title>foreign</title><body><script>
const server = "SERVER", query = QUERY, done = [];
const body = JSON.stringify({query}), url = `${server}/graphql`, asked = `${url}?query=${encodeURIComponent(query)}`;
const attempt = (name, work) => Promise.resolve().then(work).then(
  answer => done.push([name, answer]), () => done.push([name, "refused"]));
const send = (address, options) => fetch(address, options).then(() => "sent");
const frame = (name, source) => {
  const made = document.createElement("iframe");
  made.name = name;
  if (source) made.src = source;
  document.body.append(made);
};
const image = source => new Promise((loaded, failed) => {
  const picture = new Image();
  picture.onload = () => loaded("loaded");
  picture.onerror = failed;
  picture.src = source;
});
const form = type => {
  const made = document.createElement("form"), field = document.createElement("input");
  Object.assign(made, {method: "POST", action: asked, enctype: type, target: "sink"});
  Object.assign(field, {name: "query", value: query});
  made.append(field);
  document.body.append(made);
  made.submit();
  return "sent";
};
const socket = () => new Promise((opened, failed) => {
  const found = new WebSocket(url.replace("http", "ws"), "graphql-ws");
  found.onopen = () => opened("opened");
  found.onerror = failed;
});
frame("sink");
frame("ui", server);
(async () => {
  const json = {"Content-Type": "application/json"};
  await attempt("json", () => send(url, {method: "POST", headers: json, body}));
  await attempt("text", () => send(url, {method: "POST", mode: "no-cors", body}));
  await attempt("get", () => send(asked, {mode: "no-cors"}));
  await attempt("beacon", () => navigator.sendBeacon(asked, new Blob([body], {type: "text/plain"})) && "sent");
  await attempt("image", () => image(asked));
  await attempt("form", () => form("text/plain"));
  await attempt("form with files", () => form("multipart/form-data"));
  await attempt("websocket", socket);
  const forged = `${server}/report_asset_materialization/forged`;
  await attempt("forged", () => send(forged, {method: "POST", mode: "no-cors"}));
  document.title = JSON.stringify(done);
})();
</script></body>"""


@pytest.fixture
def foreign_page(servers) -> Iterator[str]:
    """The address of a page of another server, which tries everything that a page can."""
    text = PAGE.replace("SERVER", servers.url).replace("QUERY", json.dumps(ADD)).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_foreign_page_in_the_browser_achieves_nothing(servers, foreign_page):
    with open_page() as page:
        page.goto(foreign_page)
        wait_until(lambda: page.title().startswith("["), "the page has tried everything")
        page.wait_for_timeout(1000)
        outcomes = dict(json.loads(page.title()))
        assert len(outcomes) == 9
        assert {outcomes[name] for name in ("json", "image", "websocket")} == {"refused"}
        assert all("Dagster" not in frame.title() for frame in page.frames[1:])
    assert KEY not in known(servers)
    assert forged(servers) == 0


def test_the_ui_works_and_hears_news_by_its_websocket(servers):
    with open_page() as page:
        heard, problems = [], []
        page.on("websocket", lambda found: found.on("framereceived", lambda frame: heard.append(frame)))
        page.on(
            "response", lambda response: response.status >= 400 and problems.append((response.status, response.url))
        )
        page.goto(f"{servers.url}/asset-groups?expanded=global%40global%3Adata")
        page.get_by_text("generated_images").first.wait_for()
        page.goto(f"{servers.url}/runs")
        page.get_by_text("Runs").first.wait_for()
        wait_until(lambda: heard, "the websocket is in use")
        shot(page, "guarded-ui")
        assert problems == []


def test_a_program_may_do_what_no_page_may(servers):
    assert ask(servers, "POST", FORGED, JSON, "{}")[0] == 200
    assert forged(servers) == 1
    assert ask(servers, "POST", "/graphql", JSON, BODY)[0] == 200
    assert KEY in known(servers)
