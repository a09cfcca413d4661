"""Dagster's web server, asked in GraphQL over HTTP.

Belongs here: sending a question, telling an answer from an error. Does not belong here: what is asked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from assay.errors import ServerError, unknown

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


AssetPath = tuple[str, ...]

ENTRANCE: AssetPath = ("experiment",)
"""The asset by which Assay's definitions are recognised."""

ADDED_AT_ONCE = 50
"""Mutations in one request: one by one, two hundred experiments would wait for two hundred answers."""

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
        server: Who serves them.
        selector: Repository and code location, as Dagster wants them named.
        partitions: Name of the partitions definition.
        jobs: The assets of every job.
    """

    server: DagsterServer
    selector: Mapping[str, str]
    partitions: str
    jobs: Mapping[str, Sequence[AssetPath]]

    def assets_of(self, job: str) -> Sequence[AssetPath]:
        """Return the assets that a job selects.

        Raises:
            ServerError: There is no such job.
        """
        if job not in self.jobs:
            raise ServerError(unknown("Job", job, self.jobs))
        return self.jobs[job]

    def unknown_experiments(self, experiment_ids: Sequence[str]) -> list[str]:
        """Return those of the experiments that are no partitions yet, in the order given."""
        answer = self.server.ask(KNOWN, path=list(ENTRANCE))["assetNodeOrError"]
        known = set(expect(answer, "AssetNode")["partitionKeys"])
        return [name for name in experiment_ids if name not in known]

    def add_experiments(self, experiment_ids: Sequence[str]) -> None:
        """Make partitions of experiments; somebody else may do so at the same moment."""
        for start in range(0, len(experiment_ids), ADDED_AT_ONCE):
            added = self.server.ask(
                _adding(experiment_ids[start : start + ADDED_AT_ONCE]),
                partitions=self.partitions,
                repository=dict(self.selector),
            )
            for answer in added.values():
                if answer["__typename"] != ALREADY_THERE:
                    expect(answer, "AddDynamicPartitionSuccess")


def load_workspace(server: DagsterServer) -> Workspace:
    """Ask a server for Assay's definitions.

    Raises:
        ServerError: It does not answer, or does not serve them.
    """
    answer = server.ask(WORKSPACE)
    for node in expect(answer["repositoriesOrError"], "RepositoryConnection")["nodes"]:
        for asset in node["assetNodes"]:
            if tuple(asset["assetKey"]["path"]) == ENTRANCE and asset["partitionDefinition"]:
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
    """Return why code locations could not be loaded: the innermost reason of each."""
    told = []
    for entry in workspace.get("locationEntries", ()):
        error = entry["locationOrLoadError"] or {}
        if "message" in error:
            told.append(f" {entry['name']} can't be loaded: {[error, *error['causes']][-1]['message'].strip()}")
    return "".join(told)


def _adding(experiment_ids: Sequence[str]) -> str:
    where = "partitionsDefName: $partitions, repositorySelector: $repository"
    lines = [
        f"p{number}: addDynamicPartition(partitionKey: {json.dumps(name)}, {where}) {{ __typename {ERRORS} }}"
        for number, name in enumerate(experiment_ids)
    ]
    return f"mutation($partitions: String!, $repository: RepositorySelector!) {{ {' '.join(lines)} }}"
