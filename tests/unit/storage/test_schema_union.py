import polars as pl
import pytest

from assay.errors import DataError
from assay.storage.parquet import find_conflicts, widen


def joined(*frames: pl.DataFrame, columns: list[str] | None = None) -> pl.DataFrame:
    lazy = {f"p{index}": frame.lazy() for index, frame in enumerate(frames)}
    return widen(lazy, "experiment_id", columns, "main.t").collect()


def test_extra_missing_and_reordered_columns_find_their_names() -> None:
    whole = joined(pl.DataFrame({"a": [1], "b": ["x"]}), pl.DataFrame({"b": ["y"], "c": [True], "a": [2]}))
    assert whole.to_dict(as_series=False) == {
        "a": [1, 2],
        "b": ["x", "y"],
        "experiment_id": ["p0", "p1"],
        "c": [None, True],
    }


@pytest.mark.parametrize(
    ("first", "second", "widened"),
    [(pl.Int8, pl.Int64, pl.Int64), (pl.Int64, pl.Float32, pl.Float64), (pl.Float32, pl.Float64, pl.Float64)],
)
def test_numbers_widen(first: pl.DataType, second: pl.DataType, widened: pl.DataType) -> None:
    whole = joined(pl.DataFrame({"x": pl.Series([1], dtype=first)}), pl.DataFrame({"x": pl.Series([2], dtype=second)}))
    assert whole["x"].dtype == widened
    assert whole["x"].to_list() == [1, 2]


def test_different_categories_become_text() -> None:
    whole = joined(
        pl.DataFrame({"x": pl.Series(["a"], dtype=pl.Enum(["a"]))}),
        pl.DataFrame({"x": pl.Series(["b"], dtype=pl.Enum(["b"]))}),
        pl.DataFrame({"x": ["c"]}),
    )
    assert whole["x"].to_list() == ["a", "b", "c"]
    assert whole["x"].dtype == pl.String


def test_a_column_of_nothing_goes_with_everything() -> None:
    whole = joined(pl.DataFrame({"x": pl.Series([None], dtype=pl.Null)}), pl.DataFrame({"x": ["a"]}))
    assert whole["x"].to_list() == [None, "a"]


def test_text_against_number_is_an_error_that_names_both_partitions() -> None:
    frames = [pl.DataFrame({"x": [1], "y": [1]}), pl.DataFrame({"x": [2.5], "y": ["one"]})]
    with pytest.raises(DataError, match=r"column 'y' holds numbers in partition 'p0' and text in 'p1'") as caught:
        joined(*frames)
    assert len(caught.value.problems) == 1


def test_each_conflicting_column_is_reported_once() -> None:
    schemas = {f"p{index}": pl.Schema({"x": kind}) for index, kind in enumerate([pl.Int8, pl.String, pl.Date])}
    assert len(find_conflicts(schemas)) == 1


def test_only_the_columns_asked_for_and_the_partition_come() -> None:
    frames = [pl.DataFrame({"a": [1], "b": [2]}), pl.DataFrame({"b": [3]})]
    assert joined(*frames, columns=["b"]).rows() == [(2, "p0"), (3, "p1")]
    with pytest.raises(DataError, match="'z' does not exist"):
        joined(*frames, columns=["z"])
