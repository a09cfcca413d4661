"""Why a run failed: the innermost reason, without Dagster's own stack.

Belongs here: from a run to one message. Does not belong here: which runs failed (``status``).
"""

import re
from collections.abc import Iterable, Iterator

from assay.backfills.dagster_server import ERRORS, Answer, DagsterServer, expect

EVENTS = f"""query($run: ID!, $cursor: String) {{ runOrError(runId: $run) {{ __typename {ERRORS} ... on Run {{
  eventConnection(afterCursor: $cursor) {{ cursor hasMore events {{ __typename
    ... on ExecutionStepFailureEvent {{ error {{ message causes {{ message }} }} failureMetadata {{ description }} }}
    ... on AssetCheckEvaluationEvent {{ evaluation {{ checkName success severity description }} }}
    ... on RunFailureEvent {{ message }}
    ... on RunCanceledEvent {{ message }} }} }} }} }} }}"""


def reason_of(server: DagsterServer, run_id: str) -> str:
    """Return why a run failed, as ``assay run`` would print it.

    Raises:
        ServerError: There is no such run, or the server does not answer.
    """
    return reason_in(_events(server, run_id))


def reason_in(events: Iterable[Answer]) -> str:
    """Return the reason that a run's events give: of a step, else of a blocking check, else of the run itself."""
    found: dict[str, list[str]] = {"check": [], "step": [], "run": []}
    for event in events:
        kind, text = _told(event)
        if text:
            found[kind].append(_plain(text))
    reasons = found["check"] or found["step"] or found["run"] or ["Dagster gives no reason; see the run in the UI"]
    return "; ".join(dict.fromkeys(reasons))


def _told(event: Answer) -> tuple[str, str]:
    if event["__typename"] == "ExecutionStepFailureEvent":
        return "step", _innermost(event)
    if event["__typename"] == "AssetCheckEvaluationEvent":
        check = event["evaluation"]
        serious = not check["success"] and check["severity"] == "ERROR"
        return "check", f"check {check['checkName']}: {check['description'] or 'failed'}" if serious else ""
    return "run", event.get("message") or ""


def _innermost(event: Answer) -> str:
    described = (event["failureMetadata"] or {}).get("description")
    error = event["error"] or {"message": "", "causes": []}
    return str(described or [error, *error["causes"]][-1]["message"])


def _plain(text: str) -> str:
    """Return a message without the name of the class that carried it."""
    return re.sub(r"^assay[.]errors[.][A-Za-z]+: ", "", text.strip())


def _events(server: DagsterServer, run_id: str) -> Iterator[Answer]:
    cursor, more = None, True
    while more:
        page = expect(server.ask(EVENTS, run=run_id, cursor=cursor)["runOrError"], "Run")["eventConnection"]
        yield from page["events"]
        cursor, more = page["cursor"], page["hasMore"]
