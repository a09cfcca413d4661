"""Turns the errors of ``assay`` into Dagster failures that show the reason without a stack trace.

What is wrong with a spec or data is not tried again; what may pass by itself is, such as a location that can't be
reached. A retry policy of Dagster can't tell them apart, and would repeat a step that somebody interrupted.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assay.errors import AssayError, UnreachableError
from assay.spec.secrets import hide

MOST_RETRIES = 2

SECONDS_BETWEEN_RETRIES = 10


@contextmanager
def as_failure(where: str, pause_s: float = SECONDS_BETWEEN_RETRIES) -> Iterator[None]:
    """Turn an ``AssayError`` in the block into a failure of the step.

    Dagster stores an error with its whole chain of causes. The failure therefore has no cause, and any other error
    whose message contains a secret is replaced by a failure, too.

    Args:
        where: Experiment and stage, for the message.
        pause_s: Time in seconds before what may pass by itself is tried again.

    Raises:
        dagster.Failure: The block raised an ``AssayError``, or an error that contains a secret.
        dagster.RetryRequested: A location can't be reached; the step is tried again a few times, seconds later.
    """
    try:
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
