"""Refusals of the domain as Dagster failures: the reason alone, without a stack, and never tried again."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assay.errors import AssayError
from assay.spec.secrets import hide


@contextmanager
def as_failure(where: str) -> Iterator[None]:
    """Turn an error that says what is wrong with the input into a failure of the step.

    Dagster stores an error with all that it came from; so the failure comes from nothing, and an error of any other
    kind that tells a secret becomes one too.

    Args:
        where: Experiment and stage, for the message.

    Raises:
        dagster.Failure: For a reason that trying again will not change.
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
