"""The status of backfills: how many experiments are done, failed, running or queued, and why a run failed.

Belongs here: the queries, and what Dagster's answers mean. Does not belong here: starting, cancelling and resuming
backfills (``launch``), HTTP (``dagster_server``).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from assay.backfills.dagster_server import ERRORS, Answer, AssetPath, DagsterServer, expect
from assay.errors import ServerError, unknown
from assay.experiments.last_run import PARTITION_TAG

State = Literal["done", "failed", "running", "queued", "cancelled"]

STATES: tuple[State, ...] = ("done", "failed", "running", "queued", "cancelled")

STATE_OF_RUN: Mapping[str, State] = {
    "SUCCESS": "done",
    "FAILURE": "failed",
    "CANCELED": "cancelled",
    "CANCELING": "running",
    "STARTING": "running",
    "STARTED": "running",
    "QUEUED": "queued",
    "NOT_STARTED": "queued",
    "MANAGED": "queued",
}

STATUS_NAMES = {
    "REQUESTED": "running",
    "CANCELING": "cancelling",
    "CANCELED": "cancelled",
    "FAILING": "failing",
    "FAILED": "failed",
    "COMPLETED": "done",
    "COMPLETED_SUCCESS": "done",
    "COMPLETED_FAILED": "failed",
}
"""Our name of each of Dagster's backfill states."""

UNFINISHED = ("REQUESTED", "CANCELING", "FAILING")

WILL_RETRY_TAG = "dagster/will_retry"


@dataclass(frozen=True)
class ExperimentState:
    """The state of one experiment in a backfill.

    Attributes:
        experiment_id: ID of the experiment.
        state: State of its newest run in this backfill.
        run_id: ID of that run; None if there is none yet.
    """

    experiment_id: str
    state: State
    run_id: str | None = None


@dataclass(frozen=True)
class Backfill:
    """A backfill.

    Attributes:
        id: Dagster's ID.
        status: Dagster's name of its state, such as ``COMPLETED_FAILED``.
        started: Time of the request, UTC.
        ended: Time at which its last run ended, UTC; None before.
        title: Short description, shown in lists.
        description: The command that started it, or a text entered in the UI.
        job: Name of the job, for the backfill of a job; None for the backfill of assets.
        assets: The assets that it materializes; empty for the backfill of a job.
        tags: Tags of the backfill and of all its runs.
        problem: Error of the backfill itself, not of a run; empty if there is none.
        experiments: The state of all its experiments, sorted by ID.
    """

    id: str
    status: str
    started: datetime
    ended: datetime | None
    title: str
    description: str
    job: str | None
    assets: tuple[AssetPath, ...]
    tags: Mapping[str, str]
    problem: str
    experiments: tuple[ExperimentState, ...]

    @property
    def is_finished(self) -> bool:
        """Whether the backfill is over."""
        return self.status not in UNFINISHED

    @property
    def status_name(self) -> str:
        """Its state in one word."""
        return STATUS_NAMES.get(self.status, self.status.lower())

    @property
    def counts(self) -> dict[State, int]:
        """Number of experiments in each state."""
        found = Counter(each.state for each in self.experiments)
        return {state: found[state] for state in STATES}

    def ids(self, *states: State) -> list[str]:
        """Return the experiments in one of these states."""
        return [each.experiment_id for each in self.experiments if each.state in states]


def backfill_from(answer: Answer) -> Backfill:
    """Return the backfill in an answer with the fields of ``BACKFILL``."""
    ended = answer["endTimestamp"]
    return Backfill(
        id=answer["id"],
        status=answer["status"],
        started=datetime.fromtimestamp(answer["timestamp"], UTC),
        ended=datetime.fromtimestamp(ended, UTC) if ended else None,
        title=answer["title"] or answer["jobName"] or "",
        description=answer["description"] or "",
        job=answer["jobName"],
        assets=tuple(tuple(key["path"]) for key in answer["assetSelection"] or ()),
        tags=_tags(answer),
        problem=(answer["error"] or {}).get("message", "").strip(),
        experiments=tuple(_experiments(answer)),
    )


def _experiments(answer: Answer) -> list[ExperimentState]:
    is_finished = answer["status"] not in UNFINISHED
    waiting: State = "cancelled" if is_finished else "queued"
    states = {name: ExperimentState(name, waiting) for name in _targets(answer)}
    for run in sorted(answer["runs"], key=lambda run: float(run["creationTime"])):
        tags = _tags(run)
        name = tags.get(PARTITION_TAG)
        if name is not None:
            states[name] = ExperimentState(name, _state(run["status"], tags, is_finished), run["runId"])
    return [states[name] for name in sorted(states)]


def _tags(answer: Answer) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in answer["tags"]}


def _state(status: str, tags: Mapping[str, str], is_finished: bool) -> State:
    """Return the state of a run; a failed run that Dagster will retry counts as queued."""
    state = STATE_OF_RUN.get(status, "queued")
    will_retry = state == "failed" and tags.get(WILL_RETRY_TAG) == "true" and not is_finished
    return "queued" if will_retry else state


def _targets(answer: Answer) -> Sequence[str]:
    """Return the experiments of a backfill, from whichever field Dagster stores them in."""
    if answer["partitionNames"] is not None:
        return list(answer["partitionNames"])
    roots = (answer["assetBackfillData"] or {}).get("rootTargetedPartitions") or {}
    return list(roots.get("partitionKeys") or ())


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


EVENTS = f"""query($run: ID!, $cursor: String) {{ runOrError(runId: $run) {{ __typename {ERRORS} ... on Run {{
  eventConnection(afterCursor: $cursor) {{ cursor hasMore events {{ __typename
    ... on ExecutionStepFailureEvent {{ error {{ message causes {{ message }} }} failureMetadata {{ description }} }}
    ... on AssetCheckEvaluationEvent {{ evaluation {{ checkName success severity description }} }}
    ... on RunFailureEvent {{ message }}
    ... on RunCanceledEvent {{ message }} }} }} }} }} }}"""


def reason_of(server: DagsterServer, run_id: str) -> str:
    """Return why a run failed, as ``assay run`` would print it.

    Raises:
        ServerError: The run does not exist, or the server does not answer.
    """
    return reason_in(_events(server, run_id))


def reason_in(events: Iterable[Answer]) -> str:
    """Return the reason in a run's events: that of a failed check, else of a step, else of the run itself."""
    messages: dict[str, list[str]] = {"check": [], "step": [], "run": []}
    for event in events:
        kind, text = _message_of(event)
        if text:
            messages[kind].append(_without_class_name(text))
    reasons = messages["check"] or messages["step"] or messages["run"]
    return "; ".join(dict.fromkeys(reasons or ["Dagster gives no reason; see the run in the UI"]))


def _message_of(event: Answer) -> tuple[str, str]:
    """Return what an event is about (step, check or run), and its error message; empty if it is none."""
    if event["__typename"] == "ExecutionStepFailureEvent":
        return "step", _innermost(event)
    if event["__typename"] == "AssetCheckEvaluationEvent":
        check = event["evaluation"]
        serious = not check["success"] and check["severity"] == "ERROR"
        return "check", f"check {check['checkName']}: {check['description'] or 'failed'}" if serious else ""
    return "run", event.get("message") or ""


def _innermost(event: Answer) -> str:
    """Return the innermost error of a failed step, without Dagster's own stack."""
    described = (event["failureMetadata"] or {}).get("description")
    error = event["error"] or {"message": "", "causes": []}
    return str(described or [error, *error["causes"]][-1]["message"])


def _without_class_name(text: str) -> str:
    """Return an error message without the name of its exception class."""
    return re.sub(r"^assay[.]errors[.][A-Za-z]+: ", "", text.strip())


def _events(server: DagsterServer, run_id: str) -> Iterator[Answer]:
    cursor, more = None, True
    while more:
        page = expect(server.ask(EVENTS, run=run_id, cursor=cursor)["runOrError"], "Run")["eventConnection"]
        yield from page["events"]
        cursor, more = page["cursor"], page["hasMore"]
