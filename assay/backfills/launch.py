"""Starting one backfill: the same assets for many experiments, one run each.

Belongs here: which assets, and the launch. Does not belong here: which experiments, what became of them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from assay.backfills.dagster_server import ERRORS, DagsterServer, expect
from assay.backfills.workspace import AssetPath
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
