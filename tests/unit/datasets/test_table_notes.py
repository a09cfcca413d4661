"""What is told of tables that can be used, but may mean something else than they say; and that usual ones are not."""

from datetime import date

import polars as pl
import pytest

from assay.datasets.table import check_table_source
from assay.errors import DataError
from assay.spec.generated_images import ColumnUse, TableSource

ROWS = 40


@pytest.fixture
def notes(tmp_path):
    """Give ``notes(values, ...)``: what is told of a table with column ``a`` beside ``b``, and target ``y``."""

    def notes(values, target=None, learning="regression", parquet=False, **keys):
        target = [0.5 + 3 * row for row in range(ROWS)] if target is None else target
        frame = pl.DataFrame({"a": values, "b": [row % 7 for row in range(ROWS)], "y": target}, strict=False)
        path = tmp_path / ("table.parquet" if parquet else "table.csv")
        frame.write_parquet(path) if parquet else frame.write_csv(path)
        use = keys.pop("use", ColumnUse(learning, "y"))
        return check_table_source(TableSource(path=str(path), target_column="y", **keys).used_as(use))

    return notes


USUAL = {
    "numbers": [20 + row % 9 for row in range(ROWS)],
    "years": [1990 + row for row in range(ROWS)],
    "ages up to 99": [row * 99 // (ROWS - 1) for row in range(ROWS)],
    "percentages": [100 - row for row in range(ROWS)],
    "an outlier": [9999 if row == 3 else row for row in range(ROWS)],
    "a long tail": [3 ** (row % 9) for row in range(ROWS)],
    "two levels": [-999 if row % 2 else 5 for row in range(ROWS)],
    "zeros": [0 if row % 2 else 0.05 * row for row in range(ROWS)],
    "categories": ["red" if row % 3 else "blue" for row in range(ROWS)],
    "versions": [f"v{row % 3}.1" for row in range(ROWS)],
    "ratios": [f"{row % 4}:3" for row in range(ROWS)],
}


@pytest.mark.parametrize("values", USUAL.values(), ids=USUAL)
@pytest.mark.parametrize("parquet", [False, True])
def test_nothing_is_told_of_a_usual_column(notes, values, parquet):
    assert notes(values, parquet=parquet) == []


@pytest.mark.parametrize("stand_in", [-999, -9999, 9999, 99999, -99, -32768, 2147483647])
@pytest.mark.parametrize("parquet", [False, True])
def test_a_number_that_stands_for_missing_values_is_told(notes, stand_in, parquet):
    (note,) = notes([stand_in if row % 10 == 0 else row % 9 for row in range(ROWS)], parquet=parquet)
    assert note.startswith(f"column 'a': {stand_in:g} in 4 of 40 rows is far from all other values, 0 to 8")
    assert ("source.null_values" in note) is not parquet


def test_stand_ins_of_the_target_are_told_where_it_is_a_number(notes):
    target = [-999.0 if row % 10 == 0 else 0.5 + row for row in range(ROWS)]
    (note,) = notes(USUAL["numbers"], target)
    assert note.startswith("column 'y': -999 in 4 of 40 rows")


@pytest.mark.parametrize(
    "value", ["2020-01-{:02d}", "{:02d}.03.2021", "3/{}/21", "2020/1/{}", "{:02d}:30", "2020-01-{:02d}T10:00:00Z"]
)
def test_dates_and_times_as_texts_are_told(notes, value):
    (note,) = notes([value.format(1 + row % 23) for row in range(ROWS)])
    assert "column 'a': holds dates or times as texts, such as" in note


def test_another_text_in_each_row_is_told(notes):
    (note,) = notes([f"P{row:03d}" for row in range(ROWS)])
    assert "column 'a': holds another text in each of 40 rows" in note
    assert notes([f"P{row:03d}" for row in range(ROWS)], text_columns=("a",)) == []


@pytest.mark.parametrize("pair", [("Red", "red"), ("red", "red "), ("caf\u00e9", "cafe\u0301")])
def test_categories_that_differ_in_spelling_only_are_told(notes, pair):
    (note,) = notes([pair[row % 2] for row in range(ROWS)])
    assert note.startswith("column 'a': ")
    assert "but are two categories" in note


def test_codes_with_zeros_in_front_are_told(notes):
    (note,) = notes([f"{row % 9 * 1000 + 12:05d}" for row in range(ROWS)])
    assert note.startswith("column 'a': '00012' and the like are read as numbers, without the zeros in front")
    assert notes([f"{row % 9 * 1000 + 12:05d}" for row in range(ROWS)], text_columns=("a",)) == []
    assert notes([f"{row % 9 * 1000 + 12:05d}" for row in range(ROWS)], ignore_columns=("a",)) == []


def test_codes_with_zeros_in_front_are_told_beside_decimal_commas_too(tmp_path):
    lines = [f"0{1067 + row % 9};{row},5" for row in range(ROWS)]
    (tmp_path / "table.csv").write_text("\n".join(["plz;y", *lines]))
    source = TableSource(path=str(tmp_path / "table.csv"), target_column="y", delimiter=";", decimal=",")
    (note,) = check_table_source(source)
    assert note.startswith("column 'plz': '01067' and the like are read as numbers, without the zeros in front")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("parquet", [False, True])
def test_a_number_of_the_row_is_told(notes, first, parquet):
    count = [first + row for row in range(ROWS)]
    (note,) = notes(count, parquet=parquet)
    assert note.startswith("column 'a' counts the rows")
    assert note.endswith("source.ignore_columns: ['a']")
    assert notes(count, parquet=parquet, ignore_columns=("a",)) == []
    assert notes(count, parquet=parquet, use=ColumnUse("regression", "y", inputs=("b",))) == []


@pytest.mark.parametrize(
    ("target", "learning"),
    [([row % 5 for row in range(ROWS)], "classification"), ([0.5 + row for row in range(ROWS)], "regression")],
)
def test_a_copy_of_the_target_is_told(notes, target, learning):
    (note,) = notes(target, target, learning)
    assert "column 'a': equals the target in every row" in note
    assert notes(target, target, learning, use=ColumnUse(learning, "y", inputs=("b",))) == []


@pytest.mark.parametrize("target", [[row * 0.37 for row in range(ROWS)], [f"c{row}" for row in range(ROWS)]])
def test_a_class_for_each_row_is_told(notes, target):
    (note,) = notes(USUAL["numbers"], target, "classification")
    assert "source.target_column 'y': holds 40 classes in 40 rows, most of them once" in note


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b y\n1 2 3\n", "looks separated by ' ': set source.delimiter: ' '"),
        ("# made by a tool\na,y\n1,2\n", "its first line is '# made by a tool', a comment"),
    ],
)
def test_a_header_that_is_none_is_told(tmp_path, text, message):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        check_table_source(TableSource(path=str(tmp_path / "table.csv"), target_column="y"))


def test_names_of_columns_may_hold_spaces(tmp_path):
    (tmp_path / "table.csv").write_text("my a, y \n1,2\n3,4\n")
    assert check_table_source(TableSource(path=str(tmp_path / "table.csv"), target_column=" y ")) == []


IN_PARTS = ColumnUse("regression", "y", dates_in_parts=True)


def test_what_becomes_of_dates_is_told_with_a_way_to_divide_by_time(notes):
    days = [f"2024-01-{1 + row % 28:02}" for row in range(ROWS)]
    (note,) = notes(days, use=IN_PARTS)
    assert note.startswith("'a': of dates, the year, month, day of the week")
    assert "source.subset_column" in note
    days[3] = "soon"
    wrong, _ = notes(days, use=IN_PARTS)
    assert wrong == "column 'a': 'soon' and so on in 1 row are no dates such as 2024-01-31, and count as missing"
    (note,) = notes([f"{1 + row % 28:02}.01.2024" for row in range(ROWS)], use=IN_PARTS)
    assert "become categories; write dates as 2024-01-31" in note


def test_columns_of_dates_are_refused_only_where_they_do_not_become_parts(notes):
    days = [date(2024, 1, 1 + row % 28) for row in range(ROWS)]
    assert len(notes(days, parquet=True, use=IN_PARTS)) == 1
    with pytest.raises(
        DataError, match=r"column 'a': holds Date, .* let it become parts .normalized.dates: parts., turn"
    ):
        notes(days, parquet=True)
    with pytest.raises(DataError, match=r"column 'a': holds Duration.*true/false; turn it into a number"):
        notes([each - days[0] for each in days], parquet=True, use=IN_PARTS)


def test_a_column_of_constants_is_told(notes):
    (note,) = notes([7] * ROWS)
    assert note.startswith("1 column holds the same value in every row, which says nothing: 'a'; list them in source.")
    assert notes([None if row % 2 else 7 for row in range(ROWS)])[0].startswith("values are missing")


def test_a_class_of_one_row_is_told(notes):
    classes = ["odd", *["red", "blue"] * (ROWS // 2)][:ROWS]
    (note,) = notes(USUAL["numbers"], classes, "classification")
    assert note.startswith(
        "source.target_column 'y': 1 class has one row only ('odd'), which is learned from or tested"
    )
    assert notes(USUAL["numbers"], ["red", "blue"] * (ROWS // 2), "classification") == []
