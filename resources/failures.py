"""Turns the errors of ``assay`` into Dagster failures that show the reason without a stack trace and aren't retried."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assay.errors import AssayError
from assay.spec.secrets import hide


@contextmanager
def as_failure(where: str) -> Iterator[None]:
    """Turn an ``AssayError`` in the block into a failure of the step.

    Dagster stores an error with its whole chain of causes. The failure therefore has no cause, and any other error
    whose message contains a secret is replaced by a failure, too.

    Args:
        where: Experiment and stage, for the message.

    Raises:
        dagster.Failure: The block raised an ``AssayError``, or an error that contains a secret.
    """
    try:
        yield
    except AssayError as error:
        raise dg.Failure(hide(f"{where}: {error}"), allow_retries=False) from None
    except dg.Failure:
        raise
    except Exception as error:
        if hide(str(error)) == str(error):
            raise
        raise dg.Failure(hide(f"{where}: {type(error).__name__}: {error}")) from None
