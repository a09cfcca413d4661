"""Columns as people are shown them."""

import polars as pl

from assay.storage.columns import column_lines, folded_names


def test_few_columns_are_shown_one_by_one():
    schema = pl.Schema({"item": pl.String(), **{f"x{number}": pl.Int64() for number in range(3)}})
    assert [line[:2] for line in column_lines(schema)] == [
        ("item", "String"),
        ("x0", "Int64"),
        ("x1", "Int64"),
        ("x2", "Int64"),
    ]


def test_many_of_a_kind_are_one_line_with_their_number():
    schema = pl.Schema({"a": pl.Int64(), **{f"px_{n}_{n}": pl.Float32() for n in range(1200)}, "b": pl.Int64()})
    assert [line[:2] for line in column_lines(schema)] == [("a", "Int64"), ("px_*", "Float32 × 1,200"), ("b", "Int64")]


def test_what_a_column_holds_is_said_where_it_is_known():
    schema = pl.Schema({"item": pl.String(), "prob_dog": pl.Float32(), "own": pl.Int64()})
    texts = {line.name: line.description for line in column_lines(schema)}
    assert texts["item"].startswith("name of")
    assert "probability" in texts["prob_dog"]
    assert texts["own"] == ""


def test_columns_of_two_types_are_not_mixed_under_one_name():
    schema = pl.Schema(
        {**{f"x{n}": pl.Int64() for n in range(20)}, **{f"x{n}": pl.String() for n in range(20, 40)}, "y1": pl.Int64()}
    )
    assert folded_names(schema) == {name: name for name in schema}


def test_a_column_that_has_the_name_with_the_star_keeps_it():
    schema = pl.Schema({"x*": pl.Int64(), **{f"x{n}": pl.Int64() for n in range(20)}})
    assert folded_names(schema) == {name: name for name in schema}
