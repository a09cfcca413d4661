"""Changing the course of a backfill: cancel it, go on with it, try what failed again.

Belongs here: what may be done in which state. Does not belong here: starting the first one (``launch``).

Going on means a new backfill of the experiments that are not done, each with all of the backfill's assets. Dagster's
own ``resumePartitionBackfill`` starts no run again that was cancelled, and its re-execution "from failure" would leave
out the assets that an experiment has, the spec among them: a spec corrected since would reach only half of the chain,
in several runs. What exists already is found anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.backfills.backfill import Backfill
from assay.backfills.dagster_server import ERRORS, DagsterServer, expect
from assay.backfills.launch import launch
from assay.backfills.workspace import AssetPath, load_workspace
from assay.errors import ServerError

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
