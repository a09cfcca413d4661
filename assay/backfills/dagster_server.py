"""Dagster's web server, asked in GraphQL over HTTP.

Belongs here: sending a question, telling an answer from an error. Does not belong here: what is asked.
"""

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from assay.errors import ServerError

ERRORS = "... on Error { message }"
"""What every question about a union asks for besides the answer that it hopes for."""

Answer = dict[str, Any]


@dataclass(frozen=True)
class DagsterServer:
    """A web server, such as the one that ``make dev`` starts.

    Attributes:
        url: Where it is, without ``/graphql``.
        timeout_s: How long it may take to answer one question.
    """

    url: str
    timeout_s: float = 120

    def ask(self, query: str, **variables: Any) -> Answer:
        """Return the data that a query or a mutation gives.

        Raises:
            ServerError: Nobody answers, or the answer is not one of Dagster.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            request = Request(self.address, body, {"Content-Type": "application/json"})  # noqa: S310 - http only
            with urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                answer = _parse(response.read())
        except HTTPError as error:
            answer = _parse(error.read())
            if "errors" not in answer:
                raise ServerError(f"{self.url} is not Dagster's web server: {error.code} {error.reason}.") from error
        except (OSError, HTTPException) as error:
            raise ServerError(self._no_answer(error)) from error
        if "errors" in answer:
            raise ServerError(f"{self.url} refused: {'; '.join(each['message'] for each in answer['errors'])}")
        if "data" not in answer:
            raise ServerError(f"{self.url} is not Dagster's web server: it answers without data.")
        data: Answer = answer["data"]
        return data

    @property
    def address(self) -> str:
        """Where questions go.

        Raises:
            ServerError: ``url`` is no address of a web server.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ServerError(f"--url {self.url!r} is no web address; expected one such as http://127.0.0.1:3000")
        return f"{self.url.rstrip('/')}/graphql"

    def _no_answer(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error
        return (
            f"No Dagster web server answers at {self.url} ({reason}). Start it in another terminal with 'make dev', "
            "name another one with --url, or run a single experiment without a server: assay run ID"
        )


def _parse(text: bytes) -> Answer:
    """Return an answer; empty when it is none in JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def expect(answer: Answer, kind: str) -> Answer:
    """Return one member of a union.

    Args:
        answer: What the server gave, ``__typename`` included.
        kind: The member that means success, such as ``LaunchBackfillSuccess``.

    Raises:
        ServerError: It is another one; with the server's reason.
    """
    if answer["__typename"] != kind:
        raise ServerError(f"Dagster refused ({answer['__typename']}): {str(answer.get('message', '')).strip()}")
    return answer
