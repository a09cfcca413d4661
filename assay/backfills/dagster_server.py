"""A client for Dagster's web server: GraphQL over HTTP, and Assay's definitions as the server has them.

Belongs here: where the server is, sending queries, errors in answers, finding the names of assets, jobs and partitions,
so that none is written down twice. Does not belong here: queries about backfills (``backfill``, ``launch``).
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from assay.errors import ServerError, unknown
from assay.utils.same_origin import REFUSES

DEFAULT_URL = "http://127.0.0.1:3000"
"""Where Dagster's web server is when nothing else is known."""

ADDRESS_FILE = "web-server.txt"
"""File in the Dagster home with the URL of the running web server, which keeps it locked for as long as it lives."""

ERRORS = "... on Error { message }"
"""Fragment for the error members of a union, used in every query."""

MOST_SAID = 300
"""Bytes that are quoted of an answer that is no JSON."""

Answer = dict[str, Any]


@dataclass(frozen=True)
class DagsterServer:
    """A web server, such as the one that ``make dev`` starts.

    Attributes:
        url: Base URL, without ``/graphql``.
        timeout_s: Timeout of one request, in seconds.
    """

    url: str
    timeout_s: float = 120

    def ask(self, query: str, **variables: Any) -> Answer:
        """Return the data of a query or mutation.

        Raises:
            ServerError: The server can't be reached, is not Dagster's web server, or refuses.
        """
        body = json.dumps({"query": query, "variables": variables}).encode()
        try:
            request = Request(self.address, body, {"Content-Type": "application/json"})  # noqa: S310 - http only
            with urlopen(request, timeout=self.timeout_s) as response:  # noqa: S310
                answer = _parse(response.read())
        except HTTPError as error:
            text = error.read()
            answer = _parse(text)
            if "errors" not in answer:
                if refusal := _refusal(text):
                    raise ServerError(f"{self.url} refused: {refusal}") from error
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
        """The URL for GraphQL requests.

        Raises:
            ServerError: ``url`` is not the URL of a web server.
        """
        try:
            parts = urlsplit(self.url)
            is_web_address = parts.scheme in ("http", "https") and bool(parts.netloc) and self.url.isprintable()
        except ValueError:  # such as "http://["
            is_web_address = False
        if not is_web_address:
            raise ServerError(f"--url {self.url!r} is no web address; expected one such as http://127.0.0.1:3000")
        return f"{self.url.rstrip('/')}/graphql"

    def _no_answer(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or error
        return (
            f"No Dagster web server answers at {self.url} ({reason}). Start it in another terminal with 'make dev', "
            "name another one with --url, or run a single experiment without a server: assay run ID"
        )


@contextmanager
def claimed_address(home: Path) -> Iterator[Callable[[str], None]]:
    """Claim a Dagster home for the web server of this process; yields a function that makes its URL known.

    The operating system frees the claim however the process ends, so a URL is never believed after its server's end.

    Raises:
        ServerError: A living process has claimed it.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = os.open(home / ADDRESS_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    if not _is_locked_now(file):
        os.close(file)
        url = running_url(home)
        where = f"runs already: {url}" if url else "is about to start in another terminal"
        raise ServerError(f"Dagster {where}. Two at once in {home} would do all work twice.")
    try:
        os.ftruncate(file, 0)
        yield lambda url: os.ftruncate(file, os.pwrite(file, url.encode(), 0))
    finally:
        os.ftruncate(file, 0)
        os.close(file)


def _is_locked_now(file: int) -> bool:
    """Lock a file that others lock for a moment when they look; returns whether it could be."""
    for _ in range(5):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.02)
        else:
            return True
    return False


def running_url(home: Path) -> str:
    """Return the URL of the web server that runs in a Dagster home; empty if there is none, or it isn't ready."""
    try:
        file = os.open(home / ADDRESS_FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(file, MOST_SAID).decode("utf-8", "replace").strip()
    finally:
        os.close(file)
    return ""


def _parse(text: bytes) -> Answer:
    """Return an answer; empty if it is not a JSON object."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(text: bytes) -> str:
    """Return why a server of ours did not answer, such as that it goes by another name; empty for other answers."""
    line = text[:MOST_SAID].decode("utf-8", "replace").partition("\n")[0]
    return line if line.startswith(REFUSES) and line.isprintable() else ""


def expect(answer: Answer, kind: str) -> Answer:
    """Return the answer if it is the expected member of a union.

    Args:
        answer: The server's answer, including ``__typename``.
        kind: The member that means success, such as ``LaunchBackfillSuccess``.

    Raises:
        ServerError: It is another member; the message has the server's reason.
    """
    if answer["__typename"] != kind:
        raise ServerError(f"Dagster refused ({answer['__typename']}): {str(answer.get('message', '')).strip()}")
    return answer


AssetPath = tuple[str, ...]

ROOT_ASSET: AssetPath = ("experiment",)
"""The asset by which Assay's definitions are recognized."""

MUTATIONS_PER_REQUEST = 50
"""Partitions added in one request: one by one, two hundred experiments would wait for two hundred answers."""

ALREADY_THERE = "DuplicateDynamicPartitionError"

WORKSPACE = f"""query {{
  repositoriesOrError {{ __typename {ERRORS} ... on RepositoryConnection {{ nodes {{
    name location {{ name }} assetNodes {{ assetKey {{ path }} jobNames partitionDefinition {{ name }} }} }} }} }}
  workspaceOrError {{ ... on Workspace {{ locationEntries {{
    name locationOrLoadError {{ ... on PythonError {{ message causes {{ message }} }} }} }} }} }}
}}"""

KNOWN = """query($path: [String!]!) {
  assetNodeOrError(assetKey: {path: $path}) { __typename ... on AssetNode { partitionKeys } }
}"""


@dataclass(frozen=True)
class Workspace:
    """Assay's definitions on a server.

    Attributes:
        server: The server.
        selector: Names of repository and code location, as GraphQL's ``RepositorySelector``.
        partitions: Name of the partitions definition.
        jobs: The assets of every job, by its name.
    """

    server: DagsterServer
    selector: Mapping[str, str]
    partitions: str
    jobs: Mapping[str, Sequence[AssetPath]]

    def assets_of(self, job: str) -> Sequence[AssetPath]:
        """Return the assets that a job selects.

        Raises:
            ServerError: The job does not exist.
        """
        if job not in self.jobs:
            raise ServerError(unknown("Job", job, self.jobs))
        return self.jobs[job]

    def unknown_experiments(self, experiment_ids: Sequence[str]) -> list[str]:
        """Return the experiments that are not partitions yet, in the given order."""
        answer = self.server.ask(KNOWN, path=list(ROOT_ASSET))["assetNodeOrError"]
        known = set(expect(answer, "AssetNode")["partitionKeys"])
        return [name for name in experiment_ids if name not in known]

    def add_experiments(self, experiment_ids: Sequence[str]) -> None:
        """Add experiments as partitions; one that another process adds at the same moment is no error."""
        for start in range(0, len(experiment_ids), MUTATIONS_PER_REQUEST):
            added = self.server.ask(
                _add_partitions_mutation(experiment_ids[start : start + MUTATIONS_PER_REQUEST]),
                partitions=self.partitions,
                repository=dict(self.selector),
            )
            for answer in added.values():
                if answer["__typename"] != ALREADY_THERE:
                    expect(answer, "AddDynamicPartitionSuccess")


def load_workspace(server: DagsterServer) -> Workspace:
    """Return Assay's definitions on a server.

    Raises:
        ServerError: The server does not answer, or does not have them.
    """
    answer = server.ask(WORKSPACE)
    for node in expect(answer["repositoriesOrError"], "RepositoryConnection")["nodes"]:
        for asset in node["assetNodes"]:
            if tuple(asset["assetKey"]["path"]) == ROOT_ASSET and asset["partitionDefinition"]:
                selector = {"repositoryName": node["name"], "repositoryLocationName": node["location"]["name"]}
                return Workspace(server, selector, asset["partitionDefinition"]["name"], _jobs(node["assetNodes"]))
    raise ServerError(f"{server.url} does not serve Assay's assets.{_load_errors(answer['workspaceOrError'])}")


def _jobs(assets: Sequence[Answer]) -> dict[str, list[AssetPath]]:
    jobs: dict[str, list[AssetPath]] = {}
    for asset in assets:
        for name in asset["jobNames"]:
            if not name.startswith("__"):  # Dagster's own job of everything
                jobs.setdefault(name, []).append(tuple(asset["assetKey"]["path"]))
    return jobs


def _load_errors(workspace: Mapping[str, Any]) -> str:
    """Return why code locations could not be loaded: the innermost error of each."""
    messages = []
    for entry in workspace.get("locationEntries", ()):
        error = entry["locationOrLoadError"] or {}
        if "message" in error:
            messages.append(f" {entry['name']} can't be loaded: {[error, *error['causes']][-1]['message'].strip()}")
    return "".join(messages)


def _add_partitions_mutation(experiment_ids: Sequence[str]) -> str:
    where = "partitionsDefName: $partitions, repositorySelector: $repository"
    lines = [
        f"p{number}: addDynamicPartition(partitionKey: {json.dumps(name)}, {where}) {{ __typename {ERRORS} }}"
        for number, name in enumerate(experiment_ids)
    ]
    return f"mutation($partitions: String!, $repository: RepositorySelector!) {{ {' '.join(lines)} }}"
