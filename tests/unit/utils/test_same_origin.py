"""Who may ask a local server: its own pages and programs, by one of its own names."""

import asyncio

import pytest

from assay.utils.same_origin import SameOriginMiddleware

OWN = {"host": "127.0.0.1:3000"}
OTHER_PAGE = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def answer(*headers, kind="http", method="GET"):
    """Return the status that a browser gets: 200 for an answer of the application, 403 for a refused websocket."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode("latin-1")) for each in headers for name, value in each.items()]
    scope = {"type": kind, "method": method, "path": "/", "headers": pairs}
    asyncio.run(SameOriginMiddleware(app)(scope, receive, send))
    assert sent[0]["type"] in ("http.response.start", "websocket.close")
    return sent[0].get("status", 403)


@pytest.mark.parametrize(
    "headers",
    [
        OWN,
        {"host": "localhost:3000"},
        {"host": "LocalHost"},
        {**OWN, "origin": "http://127.0.0.1:3000"},
        {"host": "localhost:3000", "origin": "http://localhost:3000", "sec-fetch-site": "same-origin"},
        {**OWN, "origin": "https://127.0.0.1:3000"},
        {**OWN, "sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {**OWN, **LINK},
    ],
)
def test_own_pages_programs_and_followed_links_are_answered(headers):
    assert answer(headers) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1.evil.example:3000",
        "127.0.0.1:3000.evil.example",
        "127.0.0.1@evil.example",
        "localhost.",
        "localhost\n",
        "",
        "0.0.0.0:3000",
        "127.0.0.1:",
        "127.0.0.1:٣٠٠٠".encode().decode("latin-1"),
    ],
)
def test_other_names_are_not(host):
    assert answer({"host": host}) == 400


def test_a_request_names_exactly_one_host():
    assert answer() == 400
    assert answer(OWN, {"host": "evil.example"}) == 400


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:8888",
        "http://localhost:3000",
        "http://127.0.0.1:3000.evil.example",
        "http://127.0.0.1",
        "file://",
        "chrome-extension://abc",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_servers_are_not_answered(kind, origin):
    assert answer({**OWN, "origin": origin}, kind=kind) == 403


def test_of_several_origins_none_may_be_foreign():
    assert answer({**OWN, "origin": "http://127.0.0.1:3000"}, {"origin": "http://evil.example"}) == 403


@pytest.mark.parametrize(
    "headers",
    [
        OTHER_PAGE,
        {**OTHER_PAGE, "sec-fetch-site": "same-site"},
        {**LINK, "sec-fetch-dest": "iframe"},
        {**LINK, "sec-fetch-mode": "cors"},
    ],
)
def test_images_frames_and_scripts_of_other_pages_are_not_answered(headers):
    assert answer({**OWN, **headers}) == 403


def test_a_form_of_another_page_is_not_answered_although_it_opens_a_page():
    assert answer({**OWN, **LINK}, method="POST") == 403


def test_what_is_no_request_is_passed_on():
    assert answer(kind="lifespan") == 200
