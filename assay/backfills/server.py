"""Dagster's web server, asked in GraphQL over HTTP.

Belongs here: sending a question, telling an answer from an error. Does not belong here: what is asked.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
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
        address = f"{self.url.rstrip('/')}/graphql"
        try:
            request = Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - the user's own server
            with urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                answer = json.load(response)
        except HTTPError as error:
            answer = _json_or_nothing(error.read())
            if "errors" not in answer:
                raise ServerError(f"{address} is not Dagster's web server: {error.code} {error.reason}.") from error
        except (URLError, TimeoutError, ConnectionError) as error:
            raise ServerError(self._no_answer(error)) from error
        except ValueError as error:
            raise ServerError(f"{self.url} is not the address of Dagster's web server: {error}.") from error
        if "errors" in answer:
            raise ServerError(f"{address} refused: {'; '.join(each['message'] for each in answer['errors'])}")
        data: Answer = answer["data"]
        return data

    def _no_answer(self, error: OSError) -> str:
        reason = getattr(error, "reason", None) or error
        return (
            f"No Dagster web server answers at {self.url} ({reason}). Start it in another terminal with 'make dev', "
            "name another one with --url, or run a single experiment without a server: assay run ID"
        )


def _json_or_nothing(text: bytes) -> Answer:
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
