"""What a web server serves: Assay's assets, which job selects them, and the experiments that it knows.

Belongs here: finding names, so that none is written down twice. Does not belong here: starting anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.backfills.dagster_server import ERRORS, Answer, DagsterServer, expect
from assay.errors import ServerError, unknown

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
