"""Dagster's web server, which obeys no page but its own; ``make dev`` starts it.

Dagster answers GraphQL by GET, as text or as a form, and doesn't look at who asks: any page in the user's browser could
start runs. Its commands have no option for that, hence this entrance with their own options::

    python -m resources.instance.web dev --port 3000          # like `dagster dev`: web server, daemon, code server
    python -m resources.instance.web webserver --port 3000    # like `dagster-webserver`

Belongs here: which requests Dagster's server answers. Does not belong here: who may ask (``assay.utils.same_origin``).
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from dagster._cli import dev as dagster_dev
from dagster_shared.ipc import open_ipc_subprocess
from dagster_webserver import app as dagster_app
from dagster_webserver.cli import dagster_webserver
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from assay.utils.same_origin import (
    REFUSES,
    AsgiApp,
    Receive,
    SameOriginMiddleware,
    Scope,
    Send,
    header_values,
    refuse_request,
)

READ_METHODS = ("GET", "HEAD")

JSON = "application/json"
"""A page of another server can't send it without asking first, which is refused; it can send forms and plain text."""


class JsonOnlyMiddleware:
    """Refuses requests to change something that are not JSON, and GraphQL by anything but POST.

    Attributes:
        app: What answers the others.
        graphql: Path of GraphQL. Without a query in the address, Dagster shows its editor of queries there.
    """

    def __init__(self, app: AsgiApp, graphql: str) -> None:
        self.app = app
        self.graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 405 or 415."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["method"] not in READ_METHODS and not _is_json(scope):
            await refuse_request(f"{REFUSES}takes {JSON} only.", scope, receive, send, status=415)
        elif scope["method"] in READ_METHODS and scope["path"].strip() == self.graphql and scope["query_string"]:
            await refuse_request(f"{REFUSES}answers GraphQL by POST only.", scope, receive, send, status=405)
        else:
            await self.app(scope, receive, _in_no_frame(send))


def _is_json(scope: Scope) -> bool:
    return [value.partition(";")[0].strip().lower() for value in header_values(scope, "content-type")] == [JSON]


def _in_no_frame(send: Send) -> Send:
    """Return ``send`` with the header by which no other page shows the UI in a frame, where it could steer clicks."""

    async def sent(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return sent


class GuardedWebserver(DagsterWebserver[Any, Any]):
    """Dagster's web server behind the checks."""

    def build_middleware(self) -> list[Middleware]:
        """Return Dagster's middleware, after ours."""
        json_only = Middleware(JsonOnlyMiddleware, graphql=f"{self._app_path_prefix}/graphql")
        return [Middleware(SameOriginMiddleware), json_only, *super().build_middleware()]


def main(arguments: Sequence[str]) -> None:
    """Run ``dev`` or ``webserver`` until it is interrupted; the other arguments are those of Dagster's command."""
    command, *options = arguments or ["--help"]
    if command == "webserver":
        dagster_app.DagsterWebserver = GuardedWebserver  # type: ignore[attr-defined]
        dagster_webserver.main(options, prog_name="webserver", auto_envvar_prefix="DAGSTER_WEBSERVER")
    elif command == "dev":
        dagster_dev.open_ipc_subprocess = _open_guarded  # type: ignore[attr-defined]
        dagster_dev.dev_command.main(options, prog_name="dev", auto_envvar_prefix="DAGSTER_CLI_DEV")
    else:
        sys.exit("Usage: python -m resources.instance.web dev|webserver [OPTION]…")


def _open_guarded(parts: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start a process of ``dagster dev``; the web server through this module."""
    python, *rest = parts
    if rest[:2] == ["-m", "dagster_webserver"]:
        rest[:2] = ["-m", "resources.instance.web", "webserver"]
    return open_ipc_subprocess([python, *rest], **options)


if __name__ == "__main__":
    main(sys.argv[1:])
