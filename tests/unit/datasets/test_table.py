"""The user's own table: what is copied, what is refused."""

import datetime
import json
import os

import polars as pl
import pytest

from assay.datasets.schema import ROW_ITEM_COLUMNS
from assay.datasets.table import build_table, check_stored_rows
from assay.errors import AssayError, DataError
from assay.spec.generated_images import ColumnUse, TableSource
from assay.spec.normalized import MissingValues

CSV = "size,color,when,price\n1.5,red,train,10\n2.5,blue,val,20\n,red,test,30\n"


@pytest.fixture
def build(tmp_path):
    def build(text=CSV, **keys):
        (tmp_path / "data.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        folder = tmp_path / "result"
        folder.mkdir()
        use = keys.pop("use", ColumnUse())
        keys = {"path": str(tmp_path / "data.csv"), "target_column": "price", **keys}
        report = build_table(TableSource(**keys).used_as(use), 0, folder)
        return report, pl.read_parquet(folder / "rows.parquet"), pl.read_parquet(folder / "items.parquet")

    return build


def test_rows_keep_their_columns_and_get_names(build, tmp_path):
    report, rows, items = build()
    assert rows.columns == ["item", "size", "color", "when", "price"]
    assert rows["item"].to_list() == ["000000000", "000000001", "000000002"]
    assert rows["size"].to_list() == [1.5, 2.5, None]
    assert items.schema == pl.Schema(ROW_ITEM_COLUMNS)
    assert items["label"].to_list() == ["10", "20", "30"]
    assert report["rows"] == 3
    roles = json.loads((tmp_path / "result" / "table.json").read_text())
    assert roles == {"target_column": "price", "features": ["size", "color", "when"]}


def test_subset_and_group_are_not_features(build):
    report, rows, items = build(subset_column="when", group_column="color")
    assert rows.columns == ["item", "size", "price"]
    assert items["given_subset"].to_list() == ["train", "validation", "test"]
    assert items["given_group"].to_list() == ["red", "blue", "red"]
    assert report["given_subsets"] == {"test": 1, "train": 1, "validation": 1}


def test_ignored_columns_are_left_out(build):
    assert build(ignore_columns=["color", "when"])[1].columns == ["item", "size", "price"]


def test_parquet_is_read_as_well(build, tmp_path):
    frame = pl.DataFrame({"a": [1, 2], "price": [0.5, 1.5]})
    frame.write_parquet(tmp_path / "x.parquet")
    _, rows, items = build(path=str(tmp_path / "x.parquet"))
    assert rows.drop("item").equals(frame)
    assert items["label"].null_count() == 2, "fractions are no classes"


def test_equal_rows_have_equal_hashes_and_others_do_not(build):
    report, _, items = build("a,b,price\n1,,2\n1,,2\n,1,2\n")
    assert items["sha256"].n_unique() == 2
    assert report["equal_rows"] == 1


def test_a_type_is_found_from_all_rows(build):
    text = "a,price\n" + "1,1\n" * 2000 + "1.5,2\n"
    assert build(text)[1].schema["a"] == pl.Float64


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (CSV, {"target_column": "prise"}, "source.target_column: Column 'prise' does not exist. Did you mean 'price'?"),
        (CSV, {"group_column": "colour"}, "source.group_column: Column 'colour' does not exist. Did you mean 'color'?"),
        (CSV, {"ignore_columns": ["x"]}, "source.ignore_columns: Column 'x' does not exist."),
        (
            CSV,
            {"subset_column": "color"},
            "'blue', 'red' in 3 rows (lines 2, 3, 4 of the file), expected",
        ),
        ("item,price\n1,2\n", {}, "column 'item': the name is taken"),
        ("a,price\n1,2\n2,\n3,NA\n", {}, "source.target_column 'price': is missing in 2 rows (lines 3, 4 of the file)"),
        (
            "a,price\n,2\n1,3\n",
            {"group_column": "a"},
            "'a': is missing in 1 row (line 2 of the file)",
        ),
        ("a,a,price\n1,2,3\n", {}, "column 'a' is given twice"),
        ("a,price\n", {}, "holds no row"),
        ("a,price\n1,2,3,4\n", {}, "can't be read as csv"),
        ("s,price\ntrain,cat\ntest,dog\n", {"subset_column": "s"}, "class 'dog' is in test but not in train"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(build, tmp_path, text, keys, message):
    with pytest.raises(DataError) as caught:
        build(text, **keys)
    assert message in str(caught.value)
    assert str(tmp_path / "data.csv") in str(caught.value)
    assert not list((tmp_path / "result").iterdir())


def test_all_problems_are_reported_at_once(build):
    with pytest.raises(DataError) as caught:
        build(target_column="x", group_column="y")
    assert len(caught.value.problems) == 2


def test_nested_columns_are_refused(build, tmp_path):
    pl.DataFrame({"a": [[1], [2]], "price": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"column 'a': holds List\(Int64\), expected numbers or texts"):
        build(path=str(tmp_path / "x.parquet"))


def test_a_file_that_is_not_parquet_is_named(build, tmp_path):
    (tmp_path / "x.parquet").write_text("hello")
    with pytest.raises(DataError, match=r"x.parquet' can't be read as parquet"):
        build(path=str(tmp_path / "x.parquet"))


def refused(build, text="", **keys):
    with pytest.raises(AssayError) as caught:
        build(text, **keys)
    return str(caught.value)


GERMAN = "Größe;Anzahl;price\n1.234,5;1.000;12,5\n-0,25;2.000;13,25\n7;3.000;14\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_table_of_a_german_spreadsheet_is_read(build, encoding):
    keys = {"delimiter": ";", "decimal": ",", "thousands": "."}
    keys |= {"encoding": encoding} if encoding == "cp1252" else {}
    _, rows, _ = build(GERMAN.encode(encoding), **keys)
    assert rows.drop("item").to_dict(as_series=False) == {
        "Größe": [1234.5, -0.25, 7.0],
        "Anzahl": [1000, 2000, 3000],
        "price": [12.5, 13.25, 14.0],
    }


def test_numbers_with_spaces_and_signs_are_numbers(build):
    _, rows, _ = build("a,price\n +5,1\n\u22126,2\n7 ,+3\n")
    assert rows.drop("item").to_dict(as_series=False) == {"a": [5, -6, 7], "price": [1, 2, 3]}


QUESTION_MARKS = "age,price\n" + "".join(f"{20 + row},{row}\n" for row in range(78)) + "?,78\n?,79\n"


def test_numbers_with_question_marks_are_refused_and_null_values_is_the_way_out(build, tmp_path):
    message = refused(build, QUESTION_MARKS)
    assert "column 'age': 78 of 80 values are numbers, but not '?' (2x)" in message
    (tmp_path / "result").rmdir()
    _, rows, _ = build(QUESTION_MARKS, null_values=["?"])
    assert rows["age"].null_count() == 2
    assert rows.schema["age"] == pl.Int64


@pytest.mark.parametrize(
    "keys",
    [
        {"text_columns": ["age"]},
        {"ignore_columns": ["age"]},
        {"use": ColumnUse("regression", "price", categories=("age",))},
        {"use": ColumnUse("regression", "price", categories=("a*",))},
        {"use": ColumnUse("regression", "price", inputs=("other",))},
    ],
)
def test_a_column_that_is_named_as_categories_or_not_used_is_not_refused(build, keys):
    _, rows, _ = build(QUESTION_MARKS, **keys)
    assert rows.schema.get("age", pl.String) == pl.String


def test_columns_of_texts_keep_them_word_for_word(build, tmp_path):
    _, rows, _ = build("zip,id,price\n01234,123456789012345678901,1\n00123,1,2\n", text_columns=["zip", "id"])
    assert rows["zip"].to_list() == ["01234", "00123"]
    assert rows["id"].to_list() == ["123456789012345678901", "1"]
    (tmp_path / "result" / "rows.parquet").unlink()


REGRESSION = ColumnUse("regression", "price")


@pytest.mark.parametrize(
    ("text", "use", "message"),
    [
        ("a,price\n1,low\n2,high\n", REGRESSION, "'price': holds texts such as 'low', 'high', but task is regression"),
        (
            'a,price\n1,"12,5"\n2,"3,5"\n',
            REGRESSION,
            "'price': holds numbers as texts, such as '12,5' (1x), '3,5' (1x)",
        ),
        ('a,price\n1,"12,5"\n2,"3,5"\n', REGRESSION, "a decimal comma is source.decimal: ','"),
        ("a,price\n1,true\n2,false\n", REGRESSION, "'price': holds Boolean such as 'True', 'False', but task is"),
        ("a,price,b\n1,2,x\n2,3,y\n", ColumnUse("regression", "b"), "'b': holds texts such as 'x', 'y'"),
        ("a,price\n1,0\n2,?\n3,1\n", ColumnUse("classification", "price"), "2 of 3 values are numbers, but not '?'"),
    ],
)
def test_a_target_that_the_task_cannot_learn_is_refused(build, text, use, message):
    assert message in refused(build, text, use=use)


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("a,price\n1,0\n2,1\n3,2+\n", ColumnUse("classification", "price")),
        ('a,price\n1,"1,2"\n2,"2,3"\n3,4\n', ColumnUse("multi_label", "price")),
        ("a,price,y\n1,low,2\n2,high,3\n", ColumnUse("regression", "y")),
    ],
)
def test_labels_may_look_like_numbers(build, text, use):
    _, rows, _ = build(text, use=use)
    assert rows.schema["price"] == pl.String


def test_labels_of_floats_and_doubtful_labels_are_told(build, tmp_path):
    use = ColumnUse("classification", "price")
    (note,) = build("a,price\n1,0.0\n2,1.0\n", use=use)[0]["warnings"]
    assert "holds whole numbers as floats" in note
    for file in (tmp_path / "result").iterdir():
        file.unlink()
    (tmp_path / "result").rmdir()
    (note,) = build("a,price\n1,cat\n2,?\n", use=use)[0]["warnings"]
    assert "'?' in 1 row is a category like any other" in note


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("a;price\n1,5;2\n", {}, "looks separated by ';': set source.delimiter: ';'"),
        ("a\tprice\n1\t2\n", {}, 'set source.delimiter: "\\t"'),
        ("a,b;price\n1,2;3\n", {}, "set source.delimiter: ';'"),
        ("a,price\n1,2\n", {"delimiter": ";"}, "set source.delimiter: ','"),
        ("a,price\n1,2\n3,4,5\n", {}, "line 3 has 3 values, but the header names 2"),
        ('a,price\n1,"x\n2,y\n3,z\n', {}, "a quote is not closed, so that lines run together: look at line 2"),
        ("sep=;\na;price\n1;2\n", {"delimiter": ";"}, "its first line is 'sep=', which only Excel understands"),
        ("a,price\nä,1\n".encode("latin-1"), {}, "source.encoding: cp1252"),
        ("ä;price\n2;1\n".encode("latin-1"), {}, "cp1252, and looks separated by ';': source.delimiter: ';'"),
        ("a,price\nä,1\n".encode("utf-16-le"), {}, "looks like UTF-16: set source.encoding: utf-16-le"),
        ("a,price\nä,1\n".encode("utf-16-be"), {}, "looks like UTF-16: set source.encoding: utf-16-be"),
        ("a,price\nä,1\n".encode("latin-1"), {"encoding": "ascii"}, "it is no text in ascii"),
        (b"a,price\n\0,1\n", {}, "it holds NUL bytes, the first at byte 8"),
        (b"PK\x03\x04" + bytes(100), {}, "it is an Excel workbook or another ZIP archive, expected text"),
        (b"PAR1" + bytes(100), {}, "it is a Parquet file; name it .parquet"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), {}, "it is an image, expected text"),
        (b"", {}, "it is empty"),
        (
            ",".join(f"c{number}" for number in range(50_001)) + "\n",
            {},
            "it has 50,001 columns, expected at most 50,000",
        ),
        ("id,price\n" + "1" * 25 + ",2\n", {}, "column 'id': holds Int128, numbers of more digits than 64 bits hold"),
        ("id,price\n" + "1" * 45 + ",2\n", {}, "column 'id': holds whole numbers of more than 18 digits"),
        (",price\n7,1\n3,2\n", {}, "column 1 has no name; give it one in the header"),
        (",a,,price\n7,1,3,2\n", {}, "source.ignore_columns: ['']"),
        ("a,A,price\n1,2,3\n", {}, "columns 'a', 'A' have the same name but for case"),
        ("Item,price\n1,2\n", {}, "column 'Item': the name is taken"),
        ("a,b,price\n1,,2\n2,,3\n", {}, "column 'b': holds no value at all; list it in source.ignore_columns"),
        ("a,price\n1,2\n", {"text_columns": ["b"]}, "source.text_columns: Column 'b' does not exist"),
        ('"' + "x" * 200_000 + "\n1,2\n", {}, "is a quote not closed?"),
    ],
)
def test_a_file_that_is_no_table_says_what_it_is(build, tmp_path, text, keys, message):
    said = refused(build, text, **keys)
    assert message in said
    assert str(tmp_path / "data.csv") in said
    assert len(said) < 1500


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (",a,price\n0,5,1\n1,6,2\n", "column 1 has no name and only counts the rows"),
        (",a,price\n1,5,1\n2,6,2\n", "column 1 has no name and only counts the rows"),
        ("a,price,\n5,1,\n6,2,\n", "column 3 has no name and is empty"),
        ("Unnamed: 0,price\n0,1\n1,2\n", "ignore_columns: ['Unnamed: 0']"),
        ('a,price\n"x\ny",1\nz,2\n', "1 value holds line breaks"),
    ],
)
def test_what_a_person_should_know_is_a_warning(build, text, note):
    report, rows, _ = build(text)
    assert note in report["warnings"][0]
    assert "" not in rows.columns


@pytest.mark.parametrize(("value", "count"), [("12.345", 1), ("12.3", 0), ("0.345", 0), ("", 1)])
def test_numbers_that_may_be_thousands_are_told(build, value, count):
    report, _, _ = build(f"a;price\n1.234;1\n{value};2\n", delimiter=";")
    notes = [note for note in report.get("warnings", ()) if "column 'a': all numbers have three decimals" in note]
    assert len(notes) == count


def test_columns_without_a_name_are_left_out_on_demand(build, tmp_path):
    assert build(",a,,price\n7,1,3,2\n", ignore_columns=[""])[1].columns == ["item", "a", "price"]


def test_names_in_quotes_are_those_of_the_table(build):
    _, rows, _ = build('"a ""b""","c,d","e\nf",price\n1,2,3,4\n')
    assert rows.columns == ["item", 'a "b"', "c,d", "e\nf", "price"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(build, ends):
    _, rows, _ = build(ends.join(["a,price", "1,2", "3,4", ""]))
    assert rows["price"].to_list() == [2, 4]


DAY = datetime.date(2020, 1, 1)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([datetime.timedelta(1)] * 2), "column 'a': holds Duration"),
        (pl.Series([DAY] * 2), "column 'a': holds Date, expected numbers, texts or true/false"),
        (pl.Series([datetime.datetime(2020, 1, 1)] * 2), "column 'a': holds Datetime"),
        (pl.Series([datetime.time(1)] * 2), "column 'a': holds Time"),
        (pl.Series([None, None]), "column 'a': holds no value at all"),
        (pl.Series([None, None], dtype=pl.Float64), "column 'a': holds no value at all"),
        (pl.Series([1, 2], dtype=pl.Int128), "column 'a': holds Int128"),
        (pl.Series([{"b": 1}] * 2), "column 'a': holds Struct"),
        (pl.Series([b"x", b"y"]), "column 'a': holds Binary"),
        (pl.Series([[1.0], [2.0]], dtype=pl.Array(pl.Float64, 1)), "column 'a': holds Array"),
        (pl.Series(["1", "?"], dtype=pl.Categorical), "store plain numbers, and nulls where values are missing"),
    ],
)
def test_types_of_parquet_that_no_model_reads_are_refused(build, tmp_path, column, message):
    pl.DataFrame({"a": column, "price": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    said = refused(build, path=str(tmp_path / "x.parquet"))
    assert message in said
    assert "source.ignore_columns" in said
    assert "x.parquet" in said
    (tmp_path / "result").rmdir()
    keys = {"path": str(tmp_path / "x.parquet"), "ignore_columns": ["a"]}
    assert build(**keys)[1].columns == ["item", "price"]


def test_dates_that_the_model_does_not_read_are_kept(build, tmp_path):
    pl.DataFrame({"day": [DAY, DAY], "b": [1, 2], "price": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    _, rows, _ = build(path=str(tmp_path / "x.parquet"), use=ColumnUse("regression", "price", inputs=("b",)))
    assert rows["day"].to_list() == [DAY, DAY]


def test_dates_may_be_categories(build, tmp_path):
    pl.DataFrame({"day": [DAY, DAY], "price": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    _, rows, _ = build(path=str(tmp_path / "x.parquet"), text_columns=["day"])
    assert rows["day"].to_list() == ["2020-01-01", "2020-01-01"]


def test_a_damaged_parquet_file_is_one_sentence(build, tmp_path):
    pl.DataFrame({"a": range(50), "price": range(50)}).write_parquet(tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:30] + whole[60:])
    assert "x.parquet' can't be read as parquet" in refused(build, path=str(tmp_path / "x.parquet"))


def test_a_pipe_is_not_read(build, tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is a pipe (FIFO), expected a file" in refused(build, path=str(tmp_path / "pipe.csv"))


def test_rows_stored_for_another_task_are_checked(build, tmp_path):
    build("a,price\n1,low\n2,high\n", use=ColumnUse("classification", "price"))
    source = TableSource(path="x.csv", target_column="price")
    check_stored_rows(source.used_as(ColumnUse("classification", "price")), tmp_path / "result")
    with pytest.raises(DataError, match="but task is regression"):
        check_stored_rows(source.used_as(REGRESSION), tmp_path / "result")


def test_rows_stored_by_a_version_that_took_numbers_for_categories_are_refused(tmp_path):
    pl.DataFrame({"item": ["0", "1"], "a": ["1,5", "2,5"], "price": [1, 2]}).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"source[.]decimal: ','"):
        check_stored_rows(TableSource(path="x.csv", target_column="price").used_as(REGRESSION), tmp_path)


@pytest.mark.parametrize("name", ["Training", "VALID", " test", "dev", "holdout", "Testing"])
def test_subsets_may_be_called_as_folders_are(build, name):
    _, _, items = build(f"when,price\ntrain,1\n{name},2\n", subset_column="when")
    assert items["given_subset"].null_count() == 0


def test_labels_that_differ_in_a_space_are_told(build):
    text = "size,price\n1,low\n2,low \n3,high\n"
    report = build(text, use=ColumnUse("classification", "price"))[0]
    assert report["warnings"] == ["'low' and 'low ' differ only in case, spaces or spelling, but are two classes"]


INFINITE = "size,price\n1.5,1\n{},2\n2.5,3\n{},1\n"


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999", "-1e400"])
def test_infinite_values_are_refused_when_the_table_is_read(build, tmp_path, value):
    message = refused(build, INFINITE.format(value, value))
    assert "column 'size': is infinite, or too large a number, in 2 of 4 rows (lines 3, 5 of the file)" in message
    assert "ignore_columns" in message
    (tmp_path / "result").rename(tmp_path / "refused")
    build(INFINITE.format(value, value), ignore_columns=("size",))


def test_an_infinite_target_is_refused_when_the_table_is_read(build):
    assert "source.target_column 'price': is infinite" in refused(build, "a,price\n1,0.5\n2,inf\n3,1.5\n")


def test_infinite_values_of_parquet_are_refused(build, tmp_path):
    pl.DataFrame({"a": [1.0, float("-inf"), None], "price": [1, 2, 3]}).write_parquet(tmp_path / "table.parquet")
    assert "in 1 of 3 rows (row 2 of the table)" in refused(build, path=str(tmp_path / "table.parquet"))


GAPS = "a,b,c,price\n1,,x,1\n,,,2\n3,4.5,z,3\n"


def test_missing_values_and_what_fills_them_are_told_when_the_table_is_read(build):
    report, *_ = build(GAPS)
    (note,) = [each for each in report["warnings"] if "values are missing" in each]
    assert note.startswith(
        "values are missing: 'a' in 1, 'b' in 2, 'c' in 1 of 3 rows; numbers become the median of train"
    )
    assert "missing categories become a category (normalized.missing)" in note


def test_missing_values_that_are_not_to_be_filled_are_refused_when_the_table_is_read(build):
    use = ColumnUse("regression", "price", missing=MissingValues(numbers="refuse", categories="refuse"))
    message = refused(build, GAPS, use=use)
    assert (
        "column 'b': is missing in 2 of 3 rows (lines 2, 3 of the file), and normalized.missing.numbers is 'refuse'"
        in message
    )
    assert "set normalized.missing.categories: level" in message


@pytest.mark.parametrize(
    ("named", "column"),
    [("Y", "y"), ("y ", "y"), ("label", "Label"), ("price", "Price (EUR)"), ("petal length", "Petal_Length")],
)
@pytest.mark.parametrize("key", ["target_column", "subset_column", "group_column", "ignore_columns", "text_columns"])
def test_a_column_of_another_case_is_the_nearest_name(build, key, named, column):
    value = (named,) if key.endswith("s") else named
    keys = {"target_column": "z", key: value}
    assert f"source.{key}: Column {named!r} does not exist. Did you mean {column!r}?" in refused(
        build, f"{column},z,w\n1,2,3\n4,5,6\n", **keys
    )


LABELLED = "size,color,labels\n1,red,p|q\n2,,\n,blue,q\n4,red,NA\n"


def test_an_empty_cell_is_an_item_without_labels_once_null_values_says_so(build, tmp_path):
    use = ColumnUse("multi_label", "labels")
    message = refused(build, LABELLED, target_column="labels", use=use)
    assert "is missing in 2 rows" in message
    assert "if an empty cell is an item without any label: source.null_values: ['NA']" in message
    (tmp_path / "result").rmdir()
    text = LABELLED.replace("4,red,NA\n", "")
    _, rows, _ = build(text, target_column="labels", use=use, null_values=["NA"])
    assert rows["labels"].to_list() == ["p|q", "", "q"]
    assert rows["color"].to_list() == ["red", None, "blue"]
    assert rows["size"].to_list() == [1, 2, None]
