"""What stands for missing values, and that it is the same for all rows."""

import math

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.datasets.filling import FilledInfo, fill_gaps, fit_filling, gap_counts, marked_columns, most_frequent
from assay.datasets.scaling import CategoricalInfo, NormalizationInfo, read_normalization
from assay.errors import DataError
from assay.spec.normalized import MissingValues

ROWS = pl.DataFrame(
    {
        "size": [1.0, None, float("nan"), 6.0, 2.0],
        "rooms": [1, 2, None, 4, 5],
        "age": [1.0, 2.0, 3.0, 4.0, 5.0],
        "town": ["Ulm", "Bonn", None, "Bonn", "Ulm"],
        "garden": [True, None, True, False, True],
    }
)
KINDS = {"size": "scalar", "rooms": "scalar", "age": "scalar", "town": "categorical", "garden": "binary"}


def fitted(rows=ROWS, **keys):
    infos = fit_filling(rows, rows.columns, KINDS, MissingValues.model_validate(keys))
    return {info.name: info for info in infos}


def test_numbers_become_the_median_and_are_marked_where_train_has_gaps():
    infos = fitted()
    assert {name: info.value for name, info in infos.items()} == {
        "size": 2.0,
        "rooms": 3.0,
        "age": 3.0,
        "town": None,
        "garden": True,
    }
    marks = {"size_missing": "size", "rooms_missing": "rooms", "garden_missing": "garden"}
    assert marked_columns(infos.values()) == marks
    filled = fill_gaps(infos.values(), ROWS)
    assert filled["size"].to_list() == [1.0, 2.0, 2.0, 6.0, 2.0]
    assert filled["size_missing"].to_list() == [0, 1, 1, 0, 0]
    assert filled["rooms"].to_list() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert filled["garden"].to_list() == [True, True, True, False, True]
    assert filled["town"].to_list() == ROWS["town"].to_list()
    assert gap_counts(filled, filled.columns) == {"town": 1}


@pytest.mark.parametrize(
    ("keys", "size", "town"),
    [
        ({"numbers": "mean"}, 3.0, None),
        ({"numbers": "constant", "constant": -1}, -1.0, None),
        ({"categories": "most_frequent"}, 2.0, "Bonn"),
    ],
)
def test_what_fills_a_gap_may_be_chosen(keys, size, town):
    infos = fitted(**keys)
    assert (infos["size"].value, infos["town"].value) == (size, town)


def test_a_category_that_is_filled_is_marked_as_numbers_are():
    assert fitted(categories="most_frequent")["town"].mark == "town_missing"
    assert fitted(indicators=False)["size"].mark is None


def test_what_is_refused_is_not_filled():
    assert set(fitted(numbers="refuse")) == {"town", "garden"}
    assert set(fitted(categories="refuse")) == {"size", "rooms", "age"}


def test_columns_without_gaps_in_train_are_filled_later_all_the_same():
    infos = fitted(ROWS.drop_nulls().filter(pl.col("size").is_not_nan()))
    assert marked_columns(infos.values()) == {}
    later = fill_gaps(infos.values(), ROWS[2:3])
    assert later.row(0) == (2.0, 4.0, 3.0, "Ulm", True)


def test_a_column_without_any_value_is_one_sentence():
    with pytest.raises(DataError, match=r"source.ignore_columns(.|\n)*column 'size': no value in any of 1 rows"):
        fitted(ROWS[1:2].with_columns(rooms=1, town=pl.lit("Ulm"), garden=True))


def test_a_name_that_is_taken_is_not_taken_twice():
    rows = ROWS.rename({"age": "size_missing"})
    (info,) = fit_filling(rows, ["size"], {"size": "scalar"}, MissingValues())
    assert info.mark == "size_missing_"


def test_of_equally_frequent_values_the_first_is_taken():
    assert most_frequent(pl.Series("count", ["b", "a", None, None, None])) == "a"
    assert most_frequent(pl.Series("c", ["b", "a", "b"], dtype=pl.Categorical)) == "b"


def test_missing_categories_have_a_code_of_their_own():
    info = CategoricalInfo(name="town", dtype="String", values=("Bonn", "Ulm"), unseen_code=2, missing_code=3)
    assert info.apply(pl.Series("town", ["Ulm", None, "Rom", "Bonn"])).to_list() == [1, 3, 2, 0]
    assert info.apply(pl.Series("town", [None], dtype=pl.String)).to_list() == [3]
    assert info.inverse(pl.Series("town", [1, 3, 2])).to_list() == ["Ulm", None, None]


def test_the_file_of_the_scaling_keeps_what_fills_gaps(tmp_path):
    infos = (
        FilledInfo(name="a", value=0.1 + 0.2, mark="a_missing"),
        FilledInfo(name="b"),
        FilledInfo(name="c", value="x"),
    )
    NormalizationInfo(fitted_rows=3, filled=infos).write(tmp_path / "info.yaml")
    assert read_normalization(tmp_path / "info.yaml").filled == infos


def test_filling_a_table_without_gaps_changes_no_value():
    rows = pl.DataFrame({"size": [1, 2], "town": ["Ulm", "Bonn"]})
    infos = [FilledInfo(name="size", value=1.5), FilledInfo(name="town", value="Ulm")]
    assert_frame_equal(fill_gaps(infos, rows), rows)


def test_every_float_that_is_no_number_is_missing():
    assert gap_counts(pl.DataFrame({"x": [math.nan, None, math.inf]}), ["x"]) == {"x": 2}
