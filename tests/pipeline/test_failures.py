"""What is tried again: a location that can't be reached; nothing that is wrong with a spec, data or code."""

import dagster as dg
import polars as pl
import pytest

from assay.errors import SpecError, StorageError, UnreachableError
from assay.storage.parquet import write_parquet
from resources.failures import MOST_RETRIES, as_failure, reason_of_step


def attempts(error, until=99):
    """Run a step whose first attempts raise an error; return its result and the number of attempts."""
    made = []

    @dg.op
    def step():
        with as_failure("Experiment one", pause_s=0):
            made.append(1)
            if len(made) < until:
                raise error

    @dg.job(executor_def=dg.in_process_executor, config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
    def work():
        step()

    return work.execute_in_process(raise_on_error=False), len(made)


AWAY = UnreachableError("Location 'team' can't be used: connection refused.")


def test_a_location_that_is_back_a_moment_later_fails_nothing():
    result, made = attempts(AWAY, until=2)
    assert result.success
    assert made == 2


def test_one_that_stays_away_is_told_with_its_reason():
    result, made = attempts(AWAY)
    assert not result.success
    assert made == 1 + MOST_RETRIES
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert reason_of_step(failure) == "Experiment one: Location 'team' can't be used: connection refused."


@pytest.mark.parametrize("error", [SpecError("the spec", ["epochs: got 0"]), ValueError("a mistake in the code")])
def test_a_mistake_is_made_once(error):
    result, made = attempts(error)
    assert not result.success
    assert made == 1


def test_an_interruption_that_a_library_told_as_its_own_error_stays_an_interruption(tmp_path):
    class Stopped(pl.DataFrame):
        def to_arrow(self, **_):
            raise dg.DagsterExecutionInterruptedError  # as the handler of Ctrl-C, while DuckDB asks for the schema

        lazy = collect = to_arrow

    frame = Stopped({"a": [1]})
    frame.cast = lambda _: frame
    with pytest.raises(StorageError, match="DagsterExecutionInterruptedError"):
        write_parquet(frame, tmp_path / "a.parquet")
    with pytest.raises(dg.DagsterExecutionInterruptedError), as_failure("Experiment one"):
        write_parquet(frame, tmp_path / "a.parquet")
