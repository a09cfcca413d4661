"""Asking a server what became of backfills.

Belongs here: the questions. Does not belong here: what the answers mean (``backfill``), changing it (``actions``).
"""

from assay.backfills.backfill import Backfill, backfill_from
from assay.backfills.dagster_server import ERRORS, DagsterServer, expect
from assay.errors import ServerError, unknown

BACKFILL = """
  id status timestamp endTimestamp title description jobName partitionNames
  assetSelection { path } tags { key value } error { message }
  assetBackfillData { rootTargetedPartitions { partitionKeys } }
  runs { runId status creationTime tags { key value } }
"""

ONE = f"""query($id: String!) {{ partitionBackfillOrError(backfillId: $id) {{
  __typename {ERRORS} ... on PartitionBackfill {{ {BACKFILL} }} }} }}"""

MANY = f"""query($limit: Int) {{ partitionBackfillsOrError(limit: $limit) {{
  __typename {ERRORS} ... on PartitionBackfills {{ results {{ {BACKFILL} }} }} }} }}"""

IDS = f"""query {{ partitionBackfillsOrError {{
  __typename {ERRORS} ... on PartitionBackfills {{ results {{ id }} }} }} }}"""


def list_backfills(server: DagsterServer, limit: int) -> list[Backfill]:
    """Return the newest backfills, newest first.

    Raises:
        ServerError: The server does not answer.
    """
    answer = server.ask(MANY, limit=limit)["partitionBackfillsOrError"]
    return [backfill_from(each) for each in expect(answer, "PartitionBackfills")["results"]]


def load_backfill(server: DagsterServer, backfill_id: str) -> Backfill:
    """Return one backfill.

    Raises:
        ServerError: There is none with this ID, or the server does not answer.
    """
    answer = server.ask(ONE, id=backfill_id)["partitionBackfillOrError"]
    if answer["__typename"] == "BackfillNotFoundError":
        known = expect(server.ask(IDS)["partitionBackfillsOrError"], "PartitionBackfills")["results"]
        raise ServerError(unknown("Backfill", backfill_id, [each["id"] for each in known]))
    return backfill_from(expect(answer, "PartitionBackfill"))
