"""Failures of runs, so that people see the reason without a stack trace, and without opening a log.

What is wrong with a spec or data is not tried again; what may pass by itself is, such as a location that can't be
reached. A retry policy of Dagster can't tell them apart, and would repeat a step that somebody interrupted.

Belongs here: turning the errors of ``assay`` into Dagster failures, and the events of failed steps into sentences and
tags of their run. Does not belong here: when the tags are set (``resources.instance.event_log``).
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from assay.errors import AssayError, UnreachableError, one_line, printable
from assay.experiments.last_run import FAILURE_TAG, STAGE_TAG
from assay.pipeline import STAGES
from assay.spec.secrets import hide
from assay.utils.text import plain_markdown
from resources.progress import raise_if_interrupted

LONGEST_FAILURE = 600
"""Characters of the tag that says why a run failed."""

INTERRUPTION = dg.DagsterExecutionInterruptedError.__name__

MOST_RETRIES = 2

SECONDS_BETWEEN_RETRIES = 10


@contextmanager
def as_failure(where: str, pause_s: float = SECONDS_BETWEEN_RETRIES) -> Iterator[None]:
    """Turn an ``AssayError`` in the block into a failure of the step.

    Dagster stores an error with its whole chain of causes. The failure therefore has no cause, and any other error
    whose message contains a secret is replaced by a failure, too. What an interruption broke stays an interruption.

    Args:
        where: Experiment and stage, for the message.
        pause_s: Time in seconds before what may pass by itself is tried again.

    Raises:
        dagster.Failure: The block raised an ``AssayError``, or an error that contains a secret.
        dagster.RetryRequested: A location can't be reached; the step is tried again a few times, seconds later.
    """
    try:
        with _interruption_not_swallowed():
            yield
    except UnreachableError as error:
        reason = UnreachableError(hide(f"{where}: {error}"))
        raise dg.RetryRequested(MOST_RETRIES, pause_s) from reason
    except AssayError as error:
        raise dg.Failure(hide(f"{where}: {error}"), allow_retries=False) from None
    except dg.Failure:
        raise
    except Exception as error:
        if hide(str(error)) == str(error):
            raise
        raise dg.Failure(hide(f"{where}: {type(error).__name__}: {error}")) from None


@contextmanager
def _interruption_not_swallowed() -> Iterator[None]:
    """Raise an interruption again that came while a library called back, and that it told as an error of its own."""
    try:
        yield
    except Exception as error:
        raise_if_interrupted()
        told: BaseException | None = error
        while told is not None:
            if INTERRUPTION in str(told):
                raise dg.DagsterExecutionInterruptedError from None
            told = told.__cause__ or told.__context__
        raise


def is_interruption(event: dg.DagsterEvent) -> bool:
    """Return whether a step, or a run between two steps, failed because somebody interrupted this process."""
    if not (event.is_step_failure or event.is_run_failure):
        return False
    error = event.step_failure_data.error if event.is_step_failure else event.job_failure_data.error
    return error is not None and error.cls_name == INTERRUPTION


def reason_of_step(event: dg.DagsterEvent) -> str:
    """Return why a step failed: the innermost error, without Dagster's stack trace."""
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    failure = event.step_failure_data.user_failure_data
    reason = failure.description if failure and failure.description else (error.message if error else "unknown")
    return printable(re.sub(r"^assay[.]errors[.][A-Za-z]+: ", "", reason.strip()))


def _ends_step(step_key: str | None, evaluation: dg.AssetCheckEvaluation) -> bool:
    """Return whether a failed check is why its step failed: it blocks, or is part of its asset's own step."""
    return evaluation.blocking or step_key == evaluation.asset_key.path[-1]


def failure_tags(failures: Sequence[dg.DagsterEvent], checks: Sequence[dg.DagsterEvent]) -> dict[str, str]:
    """Return the tags of a failed run: the reason in one line, and the asset that could not be made.

    A run that somebody interrupted gets none: nothing is wrong with its experiment.

    Args:
        failures: The events of its failed steps.
        checks: The evaluations of its asset checks.
    """
    if not failures or any(map(is_interruption, failures)):
        return {}
    found = [(event.step_key, event.asset_check_evaluation_data) for event in checks]
    evaluations = {key: each for key, each in found if not each.passed and _ends_step(key, each)}
    reasons = [
        f"check {each.check_name}: {plain_markdown(each.description or 'failed')}" if each else reason_of_step(event)
        for event, each in ((event, evaluations.get(event.step_key)) for event in failures)
    ]
    text = one_line(hide("; ".join(" ".join(reason.split()) for reason in dict.fromkeys(reasons))))
    short = text if len(text) <= LONGEST_FAILURE else f"{text[: LONGEST_FAILURE - 1]}…"
    first = failures[0].step_key or ""
    checked = evaluations.get(first)
    stage = checked.asset_key.path[-1] if checked else first
    return {FAILURE_TAG: short, **({STAGE_TAG: stage} if stage in (*STAGES, "experiment") else {})}
