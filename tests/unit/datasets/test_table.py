"""The user's own table: what is copied, what is refused."""

import json

import polars as pl
import pytest

from assay.datasets.schema import ROW_ITEM_COLUMNS
from assay.datasets.table import build_table
from assay.errors import DataError
from assay.spec.generated_images import TableSource

CSV = "size,color,when,price\n1.5,red,train,10\n2.5,blue,val,20\n,red,test,30\n"


@pytest.fixture
def build(tmp_path):
    def build(text=CSV, **keys):
        (tmp_path / "data.csv").write_text(text)
        folder = tmp_path / "result"
        folder.mkdir()
        keys = {"path": str(tmp_path / "data.csv"), "target_column": "price", **keys}
        report = build_table(TableSource(**keys), 0, folder)
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
    text = "a,price\n" + "1,1\n" * 2000 + "x,2\n"
    assert build(text)[1].schema["a"] == pl.String


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (CSV, {"target_column": "prise"}, "source.target_column: Column 'prise' does not exist. Did you mean 'price'?"),
        (CSV, {"group_column": "colour"}, "source.group_column: Column 'colour' does not exist. Did you mean 'color'?"),
        (CSV, {"ignore_columns": ["x"]}, "source.ignore_columns: Column 'x' does not exist."),
        (CSV, {"subset_column": "color"}, "'blue', 'red' in 3 rows (rows 1, 2, 3), expected test, train, val"),
        ("item,price\n1,2\n", {}, "column 'item': the name is taken"),
        ("a,price\n1,2\n2,\n3,NA\n", {}, "source.target_column 'price': is missing in 2 rows (rows 2, 3)"),
        ("a,price\n,2\n1,3\n", {"group_column": "a"}, "source.group_column 'a': is missing in 1 rows (row 1)"),
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
