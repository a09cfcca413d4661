"""Starting, cancelling, resuming and retrying backfills: the same assets for many experiments, one run each.

Resuming or retrying starts a new backfill of the experiments that are not done, each with all of the backfill's assets.
Dagster's own ``resumePartitionBackfill`` does not restart cancelled runs, and its re-execution "from failure" leaves
out the assets that exist, the spec among them: a corrected spec would reach only half of the chain, in several runs.
Results that exist already are reused anyway.

Belongs here: which assets, the launch, what may be done in which state. Does not belong here: which experiments
(``selection``), the status (``backfill``).
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
"""Dagster refuses longer titles, and some characters in them."""

RETRY_TAGS = {"dagster/retry_strategy": "ALL_STEPS"}
"""A killed run is retried as a whole: existing results are reused, and an edit made meanwhile reaches all assets or
none. Dagster's default, a retry from the failed step, refuses a run that was killed after its last step and before it
could report success."""

LAUNCH = f"""mutation($parameters: LaunchBackfillParams!) {{
  launchPartitionBackfill(backfillParams: $parameters) {{
    __typename {ERRORS} ... on LaunchBackfillSuccess {{ backfillId }} }}
}}"""

HEALTH = """query { instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { healthy } } } }"""


def needed_assets(assets: Iterable[AssetPath], specs: Iterable[ExperimentSpec]) -> list[AssetPath]:
    """Return the assets without the stages that none of the experiments reads.

    All experiments of a backfill get the same assets. Dagster accepts different assets for each of them, but it puts an
    asset into the run of its inputs only if both have exactly the same partitions, and would start several runs, one
    after the other, for each experiment.
    """
    needed = {stage for spec in specs for stage in needed_stages(spec)}
    unused = set(STAGES) - needed
    return [path for path in assets if path[-1] not in unused]


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
        server: The web server; its daemon starts the runs.
        assets: The assets to materialize.
        experiment_ids: Experiments that are partitions already.
        title: Shown in lists; characters that Dagster does not allow are removed.
        description: Any text, shown beside the title.
        tags: Tags of the backfill and of all its runs.

    Raises:
        ServerError: The server refuses.
    """
    parameters = {
        "assetSelection": [{"path": list(path)} for path in assets],
        "partitionNames": list(experiment_ids),
        "title": plain_title(title),
        "description": description,
        "tags": [{"key": key, "value": value} for key, value in {**RETRY_TAGS, **(tags or {})}.items()],
    }
    answer = server.ask(LAUNCH, parameters=parameters)["launchPartitionBackfill"]
    return str(expect(answer, "LaunchBackfillSuccess")["backfillId"])


def plain_title(text: str) -> str:
    """Return a text that Dagster accepts as a title: one line, at most 100 characters, without ``%``, ``*``, ``"``."""
    plain = " ".join(re.sub(r'[%*"]', " ", text).split())
    return plain if len(plain) <= LONGEST_TITLE else f"{plain[: LONGEST_TITLE - 1]}…"


def daemon_is_alive(server: DagsterServer) -> bool:
    """Return whether the daemon runs that executes backfills; without it, they wait."""
    status = server.ask(HEALTH)["instance"]["daemonHealth"]["daemonStatus"]
    return bool(status["healthy"])


CANCEL = f"""mutation($id: String!) {{ cancelPartitionBackfill(backfillId: $id) {{ __typename {ERRORS} }} }}"""

PARENT_TAG = "dagster/parent_backfill_id"

ROOT_TAG = "dagster/root_backfill_id"
"""Tags by which Dagster's UI links a backfill to the one that it continues."""


@dataclass(frozen=True)
class Started:
    """A backfill that continues another one.

    Attributes:
        id: Its ID.
        experiment_ids: Its experiments.
    """

    id: str
    experiment_ids: tuple[str, ...]


def cancel(server: DagsterServer, backfill: Backfill) -> None:
    """Ask Dagster to cancel the running and queued experiments; its daemon does so within seconds.

    Raises:
        ServerError: The backfill is over.
    """
    if backfill.is_finished:
        raise ServerError(f"Backfill {backfill.id} is {backfill.status_name} already; there is nothing to cancel.")
    expect(server.ask(CANCEL, id=backfill.id)["cancelPartitionBackfill"], "CancelBackfillSuccess")


def resume(server: DagsterServer, backfill: Backfill) -> Started:
    """Start a backfill of all experiments that this one did not finish.

    Raises:
        ServerError: The backfill is not over, or all experiments are done.
    """
    if not backfill.is_finished:
        message = f"Backfill {backfill.id} is {backfill.status_name}; there is nothing to resume before it is over."
        raise ServerError(message)
    missing = backfill.ids("failed", "cancelled", "queued", "running")
    if not missing:
        raise ServerError(f"All experiments of backfill {backfill.id} are done ({len(backfill.experiments)}).")
    return _launch_again(server, backfill, missing)


def retry_failed(server: DagsterServer, backfill: Backfill) -> Started:
    """Start a backfill of the failed experiments only; this one may still be running.

    Raises:
        ServerError: No experiment failed.
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
