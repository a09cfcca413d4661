"""Text columns that hold numbers: read where that is certain, refused with the key that helps where it is not."""

import polars as pl
import pytest

from assay.datasets.number_texts import as_numbers, finding, gap_notes
from assay.spec.generated_images import TableSource


def source(**keys):
    return TableSource(path="x.csv", target_column="y", **keys)


def column(*values):
    return pl.Series("a", values, dtype=pl.String)


@pytest.mark.parametrize(
    ("texts", "keys", "numbers"),
    [
        (["1", " 2", "3 "], {}, [1, 2, 3]),
        (["+5", "-5", "\u22125", "\u2212 6"], {}, [5, -5, -5, -6]),
        (["1.5", "+.5", "2."], {}, [1.5, 0.5, 2.0]),
        (["\u00a07", None, "", " NA "], {}, [7, None, None, None]),
        (["1e3", "2"], {}, [1000.0, 2.0]),
        (["12,5", "-0,25", "3"], {"decimal": ","}, [12.5, -0.25, 3.0]),
        (["1.234,5", "1.000.000,0", "7,1"], {"decimal": ",", "thousands": "."}, [1234.5, 1e6, 7.1]),
        (["1.234", "12.345.678", "9"], {"decimal": ",", "thousands": "."}, [1234, 12345678, 9]),
        (["1,234.5", "7"], {"thousands": ","}, [1234.5, 7.0]),
        (["12,34,567", "7"], {"thousands": ","}, [1234567, 7]),
        (["1 234", "1\u00a0000\u202f000"], {"thousands": " "}, [1234, 1000000]),
        (["1'234", "2\u2019000"], {"thousands": "'"}, [1234, 2000]),
        (["?", "1"], {"null_values": ["?"]}, [None, 1]),
    ],
)
def test_numbers_are_read_as_they_are_written(texts, keys, numbers):
    read = as_numbers(column(*texts), source(**keys))
    assert read.to_list() == numbers


@pytest.mark.parametrize(
    ("texts", "keys"),
    [
        (["red", "blue"], {}),
        (["1", "x"], {}),
        (["1,5", "2"], {}),
        (["1.5", "2,5"], {"decimal": ","}),
        (["1.50", "2,5"], {"decimal": ",", "thousands": "."}),
        (["1,2", "3"], {"thousands": ","}),
        (["1,2345", "3"], {"thousands": ","}),
        (["1" * 19, "2"], {}),
        (["12%", "13%"], {}),
        (["", "NA"], {}),
        (["--5", "6"], {}),
        (["+", "6"], {}),
    ],
)
def test_what_is_not_certain_stays_text(texts, keys):
    assert as_numbers(column(*texts), source(**keys)) is None


NULLS = "source.null_values: ['', 'NA', 'NaN', 'nan', 'null', "


GAPS = ["?", "N/A", "None", "-", "#N/A", "none", "NULL", "--", "<NA>", "unknown", "\u2014", "n/a"]


@pytest.mark.parametrize("gap", GAPS)
def test_numbers_with_a_text_for_what_is_missing_are_refused(gap):
    found = finding(column(*["30"] * 78, gap, gap), source())
    assert found.startswith(f"78 of 80 values are numbers, but not {gap!r} (2x)")
    assert f"{NULLS}{gap!r}]" in found


@pytest.mark.parametrize(
    ("texts", "keys", "message"),
    [
        (["12,5", "3,25"], {}, "a decimal comma is source.decimal: ','"),
        (["1.234,5", "3,25"], {}, "dots between thousands are source.thousands: '.'"),
        (["3,25", "1.234"], {"decimal": ","}, "dots between thousands are source.thousands: '.'"),
        (["1,234", "5,678"], {}, "if 1,234 means 1234: source.thousands: ','; if it means 1.234: source.decimal: ','"),
        (["1,234", "5,678,901"], {}, "commas between thousands are source.thousands: ','"),
        (["1,234", "5,678.9"], {}, "commas between thousands are source.thousands: ','"),
        (["1,23,456", "7"], {}, "commas between thousands"),
        (["1.234.567", "1.234"], {}, "dots between thousands are source.decimal: ',' with source.thousands: '.'"),
        (["1,5E+03", "2,25"], {}, "a decimal comma is source.decimal: ','"),
        (["1 234", "5"], {}, "spaces between thousands are source.thousands: ' '"),
        (["1\u00a0234", "5"], {}, "spaces between thousands are source.thousands: ' '"),
        (["1'234", "5"], {}, 'apostrophes between thousands are source.thousands: "\'"'),
        (["1.5", "2,5", "3,5"], {"decimal": ",", "thousands": "."}, "a dot does not go with source.decimal: ','"),
        (["12%", "13 %", "5"], {}, "without signs and units"),
        (["$5", "-$6.50", "$1,000"], {}, "without signs and units"),
        (["5 €", "6,50 €"], {}, "a decimal comma is source.decimal: ','"),
        (["0x1F", "0xff"], {}, "without signs and units"),
        (["5kg", "6kg", "7kg", "8kg", "9.5kg"], {}, "without signs and units"),
        (["<0.1", "0.2", "0.3"], {}, "2 of 3 values are numbers, but not '<0.1' (1x)"),
        (["inf", "1", "2"], {}, "but not 'inf' (1x)"),
        (["1" * 25, "2"], {}, "holds whole numbers of more than 18 digits, such as 1111111111111111111111111"),
        (["1", "2", "about three"], {}, "correct 'about three', or list what means a missing value"),
        (["1", "2", "O"], {}, "correct 'O'"),
    ],
)
def test_numbers_in_another_form_are_refused_with_the_key_that_helps(texts, keys, message):
    assert message in finding(column(*texts), source(**keys))


@pytest.mark.parametrize(
    "texts",
    [
        ["red", "blue", "?"],
        ["S", "M", "38", "L"],
        ["2WD", "4WD"],
        ["1st", "2nd", "3rd", "4th"],
        ["2020-01-01", "2021-02-03"],
        ["12.03.2020", "13.04.2021"],
        ["10.0.0.1", "10.0.0.2"],
        ["1.2.3", "2.3.4"],
        ["12:30", "13:45"],
        ["A1", "B2", "C3"],
        ["0171-234567", "0172-345678"],
        ["1,2,3", "2,3"],
        ["?", "-", None],
        ["true", "false"],
    ],
)
def test_categories_are_left_alone(texts):
    assert finding(column(*texts), source()) is None


def test_what_a_parquet_file_holds_is_mended_there():
    found = finding(column("1", "2", "?"), TableSource(path="x.parquet", target_column="y"))
    assert (
        found == "2 of 3 values are numbers, but not '?' (1x); store plain numbers, and nulls where values are missing"
    )


def test_a_question_mark_among_categories_is_told():
    (note,) = gap_notes(column("red", "?", "?", None, "none"))
    assert "column 'a': '?' in 2 rows is a category like any other" in note
    assert gap_notes(column("red", "none")) == []


@pytest.mark.parametrize("texts", [["\u0663", "\u0664"], ["\uff11", "\uff12"], ["\u0967.5", "2"]])
def test_digits_of_other_scripts_are_refused_as_texts(texts):
    assert as_numbers(column(*texts), source()) is None
    assert "write plain numbers" in finding(column(*texts), source())


def test_numbers_stored_as_texts_in_parquet_are_called_so():
    parquet = TableSource(path="x.parquet", target_column="y")
    assert finding(column("1.5", "2"), parquet).startswith("holds numbers as texts, such as '1.5' (1x)")
