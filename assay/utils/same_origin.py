"""Which requests a local web server answers: those of its own pages and of programs on this machine.

A server on the loopback interface is reached by every web page that the user has open: it can send requests to
127.0.0.1, or let a name of its own point there (DNS rebinding). Browsers say in headers which name they called and
which page asks; programs such as ``curl`` and Assay itself name no page.

Belongs here: these two checks, for HTTP and websockets. Does not belong here: what the servers answer.
"""

import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

HOST = "127.0.0.1"

HOSTS = (HOST, "localhost")
"""Names by which a page may call a local server, in the header ``Host``."""

REFUSES = "This server "
"""How a refusal begins, by which programs tell it from other answers."""

NAME_AND_PORT = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")

SCHEMES = ("http://", "https://")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class SameOriginMiddleware:
    """Refuses requests that name another host, or that come from a page of another server."""

    def __init__(self, app: AsgiApp, hosts: Collection[str] = HOSTS) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 400 (another host) or 403 (another page)."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif problem := unknown_host(scope, self.hosts):
            await refuse_request(problem, scope, receive, send, status=400)
        elif problem := foreign_page(scope):
            await refuse_request(problem, scope, receive, send, status=403)
        else:
            await self.app(scope, receive, send)


def unknown_host(scope: Scope, hosts: Collection[str]) -> str:
    """Return what is wrong with the name by which a server was called; empty if it is one of ``hosts``.

    Args:
        scope: Of an HTTP request or a websocket, as ASGI describes it.
        hosts: Names by which the server may be called.
    """
    called = header_values(scope, "host")
    if len(called) == 1 and _is_known(called[0], hosts):
        return ""
    return f"{REFUSES}answers only as {' or '.join(sorted(hosts))}; it was called {_shown(called)}."


def foreign_page(scope: Scope) -> str:
    """Return which page of another server sent a request; empty if it is one of its own pages or a program.

    Args:
        scope: Of an HTTP request or a websocket, as ASGI describes it, with one valid header ``Host``.
    """
    (called,) = header_values(scope, "host")
    own = {f"{scheme}{called.lower()}" for scheme in SCHEMES}
    origins = header_values(scope, "origin")
    if any(origin.lower() not in own for origin in origins):
        return f"{REFUSES}obeys only its own pages; this request is from {_shown(origins)}."
    if scope["type"] == "http" and _is_fetched_by_another_page(scope):
        return f"{REFUSES}obeys only its own pages; this request is from another. Open its address in the browser."
    return ""


def _is_known(host: str, hosts: Collection[str]) -> bool:
    match = NAME_AND_PORT.fullmatch(host.lower())
    return match is not None and match.group(1) in hosts


def _is_fetched_by_another_page(scope: Scope) -> bool:
    """Return whether another page asks, such as for an image, in a frame or by a script; a followed link is fine.

    Such requests carry no ``Origin``, but today's browsers say so by themselves.
    """
    if not set(header_values(scope, "sec-fetch-site")) & {"cross-site", "same-site"}:
        return False
    mode, shown_as = header_values(scope, "sec-fetch-mode"), header_values(scope, "sec-fetch-dest")
    return (mode, shown_as, scope["method"]) != (["navigate"], ["document"], "GET")


def header_values(scope: Scope, name: str) -> list[str]:
    """Return all values of a request's header; ``name`` is in lower case."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()]


def _shown(values: list[str]) -> str:
    return ", ".join(value[:100] for value in values) or "nothing"


async def refuse_request(problem: str, scope: Scope, receive: Receive, send: Send, status: int) -> None:
    """Answer a request with an error; a websocket is closed before it opens, which the server makes an error 403."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": problem[:100]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{problem}\n".encode()})
