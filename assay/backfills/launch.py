"""Starting one backfill: the same assets for many experiments, one run each.

Belongs here: which assets, and the launch. Does not belong here: which experiments, what became of them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay.backfills.backfill import Backfill
from assay.backfills.dagster_server import ERRORS, AssetPath, DagsterServer, expect, load_workspace
from assay.errors import ServerError
from assay.pipeline import STAGES, needed_stages
from assay.spec.experiment import ExperimentSpec

LONGEST_TITLE = 100
"""Dagster refuses longer ones, and some characters in them."""

RETRIED = {"dagster/retry_strategy": "ALL_STEPS"}
"""A run that was killed is tried again as a whole: what exists is found, and an edit meanwhile reaches all or nothing.
Dagster's own way, from the step that failed, refuses a run that was killed after its last step and before it could say
that it succeeded."""

LAUNCH = f"""mutation($wanted: LaunchBackfillParams!) {{
  launchPartitionBackfill(backfillParams: $wanted) {{
    __typename {ERRORS} ... on LaunchBackfillSuccess {{ backfillId }} }}
}}"""

HEALTH = """query { instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { healthy } } } }"""


def needed_assets(assets: Iterable[AssetPath], specs: Iterable[ExperimentSpec]) -> list[AssetPath]:
    """Return the assets without the stages that none of the experiments ever reads.

    All experiments of a backfill get the same assets. Dagster would accept other assets for each of them, but it puts
    an asset into the run of its inputs only when both are wanted for exactly the same partitions, and would start
    several runs, one after the other, for each experiment.
    """
    needed = {stage for spec in specs for stage in needed_stages(spec)}
    unused = set(STAGES) - needed
    return [path for path in assets if path[0] == "spec" or path[-1] not in unused]


def launch(
    server: DagsterServer,
    assets: Sequence[AssetPath],
    experiment_ids: Sequence[str],
    title: str,
    description: str = "",
    tags: Mapping[str, str] | None = None,
) -> str:
    """Start a backfill and return its ID.

    Args:
        server: Who takes the order; its daemon starts the runs.
        assets: What to materialize.
        experiment_ids: Partitions, known to Dagster already.
        title: Shown in lists; what Dagster doesn't allow in it is left out.
        description: Shown beside it; any text.
        tags: Put on the backfill and on all its runs.

    Raises:
        ServerError: The server refuses.
    """
    wanted = {
        "assetSelection": [{"path": list(path)} for path in assets],
        "partitionNames": list(experiment_ids),
        "title": plain_title(title),
        "description": description,
        "tags": [{"key": key, "value": value} for key, value in {**RETRIED, **(tags or {})}.items()],
    }
    answer = server.ask(LAUNCH, wanted=wanted)["launchPartitionBackfill"]
    return str(expect(answer, "LaunchBackfillSuccess")["backfillId"])


def plain_title(text: str) -> str:
    """Return a text as Dagster allows it in a title: one line, at most 100 characters, without ``%``, ``*``, ``"``."""
    plain = " ".join(re.sub(r'[%*"]', " ", text).split())
    return plain if len(plain) <= LONGEST_TITLE else f"{plain[: LONGEST_TITLE - 1]}…"


def daemon_is_alive(server: DagsterServer) -> bool:
    """Return whether somebody takes backfills up; without the daemon, they wait."""
    status = server.ask(HEALTH)["instance"]["daemonHealth"]["daemonStatus"]
    return bool(status["healthy"])


CANCEL = f"""mutation($id: String!) {{ cancelPartitionBackfill(backfillId: $id) {{ __typename {ERRORS} }} }}"""

PARENT_TAG = "dagster/parent_backfill_id"

ROOT_TAG = "dagster/root_backfill_id"
"""How Dagster's UI links a backfill to the one that it goes on with."""


@dataclass(frozen=True)
class Started:
    """A backfill that goes on with another one.

    Attributes:
        id: Its own ID.
        experiment_ids: What it is for.
    """

    id: str
    experiment_ids: tuple[str, ...]


def cancel(server: DagsterServer, backfill: Backfill) -> None:
    """Ask Dagster to stop the running experiments and forget the waiting ones; its daemon does so in seconds.

    Raises:
        ServerError: The backfill is over.
    """
    if backfill.is_finished:
        raise ServerError(f"Backfill {backfill.id} is {backfill.word} already; there is nothing to cancel.")
    expect(server.ask(CANCEL, id=backfill.id)["cancelPartitionBackfill"], "CancelBackfillSuccess")


def resume(server: DagsterServer, backfill: Backfill) -> Started:
    """Start a backfill of everything that this one did not finish.

    Raises:
        ServerError: It is still at work, or all is done.
    """
    if not backfill.is_finished:
        raise ServerError(f"Backfill {backfill.id} is {backfill.word}; there is nothing to resume before it is over.")
    missing = backfill.ids("failed", "cancelled", "queued", "running")
    if not missing:
        raise ServerError(f"All {len(backfill.experiments)} experiments of backfill {backfill.id} are done.")
    return _launch_again(server, backfill, missing)


def retry_failed(server: DagsterServer, backfill: Backfill) -> Started:
    """Start a backfill of the failed experiments alone, whether the rest goes on or not.

    Raises:
        ServerError: None failed.
    """
    failed = backfill.ids("failed")
    if not failed:
        raise ServerError(f"No experiment of backfill {backfill.id} has failed.")
    return _launch_again(server, backfill, failed)


def _launch_again(server: DagsterServer, backfill: Backfill, experiment_ids: Sequence[str]) -> Started:
    tags = {**backfill.tags, PARENT_TAG: backfill.id, ROOT_TAG: backfill.tags.get(ROOT_TAG, backfill.id)}
    assets = _assets(server, backfill)
    backfill_id = launch(server, assets, experiment_ids, backfill.title, backfill.description, tags)
    return Started(backfill_id, tuple(experiment_ids))


def _assets(server: DagsterServer, backfill: Backfill) -> Sequence[AssetPath]:
    return backfill.assets or load_workspace(server).assets_of(backfill.job or "")
