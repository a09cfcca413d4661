"""The stage ``normalized``: what is fitted, which columns, what is refused."""

import sys
from functools import partial
from itertools import count

import polars as pl
import pytest

from assay.datasets.scaling import read_normalization
from assay.datasets.schema import TableInfo, read_table_info
from assay.errors import AssayError, DataError
from assay.pipeline import StageConfig
from assay.spec.normalized import NormalizedSection
from assay.stages.normalized import build_normalized
from assay.storage.parquet import read_parquet, scan_parquet, write_parquet
from assay.storage.results import ResultStore
from tests.helpers.results import build

SUBSETS = ["train", "train", "validation", "test"]
TABLE = {
    "item": ["0", "1", "2", "3"],
    "subset": SUBSETS,
    "size": [0.0, 10.0, 5.0, 100.0],
    "rooms": [1, 3, 2, 1],
    "new": [True, False, True, True],
    "color": ["red", "blue", "red", "blue"],
    "price": [10, 20, 30, 40],
}


@pytest.fixture
def tabular_folder(tmp_path):
    """A function that writes a table as the result of the stage tabular, each time into another folder."""
    numbers = count()

    def write(columns):
        tabular = tmp_path / f"tabular-{next(numbers)}"
        tabular.mkdir()
        write_parquet(pl.DataFrame(columns), tabular / "tabular.parquet")
        features = tuple(name for name in columns if name not in ("item", "subset", "price"))
        TableInfo("price", features).write(tabular)
        return tabular

    return write


@pytest.fixture
def normalize(tabular_folder, tmp_path):
    def normalize(columns=TABLE, result="result", **keys):
        tabular = tabular_folder(columns)
        folder = tmp_path / result
        folder.mkdir(exist_ok=result == "refused")
        report = build_normalized(
            scan_parquet(tabular / "tabular.parquet"), tabular, NormalizedSection.model_validate(keys), folder
        )
        return report, read_parquet(folder / "normalized.parquet"), folder

    return normalize


def refused(normalize, columns=TABLE, **keys):
    with pytest.raises(DataError) as caught:
        normalize(columns, "refused", **keys)
    return str(caught.value)


@pytest.mark.defect("A7")
def test_normalization_fits_train_only(normalize):
    report, table, folder = normalize()
    assert table["size"].to_list() == [0.0, 1.0, 0.5, 10.0]
    info = read_normalization(folder / "normalization_info.yaml")
    assert (info.fit_on, info.fitted_rows) == ("train", 2)
    assert (info.norm_infos[0].offset, info.norm_infos[0].divisor) == (0.0, 10.0)
    assert report["out_of_range"] == {"test": 1, "train": 0, "validation": 0}
    assert report["out_of_range_columns"] == {"size": 1}


@pytest.mark.defect("A7")
def test_other_subsets_change_nothing_of_what_train_becomes(normalize):
    _, one, _ = normalize(result="one")
    _, other, _ = normalize({**TABLE, "size": [0.0, 10.0, -7.0, 1e9]}, result="other")
    assert one.filter(pl.col("subset") == "train").equals(other.filter(pl.col("subset") == "train"))


@pytest.mark.defect("A7")
def test_the_target_keeps_its_own_unit(normalize):
    assert normalize()[1]["price"].to_list() == [10, 20, 30, 40]
    assert "price" not in {info.name for info in read_infos(normalize(result="all", scalar_feature_keys=["*s*"])[2])}


def read_infos(folder):
    return read_normalization(folder / "normalization_info.yaml").norm_infos


def test_all_rows_can_be_fitted_to_compare_with_old_results(normalize):
    report, table, _ = normalize(fit_on="all")
    assert table["size"].to_list() == [0.0, 0.1, 0.05, 1.0]
    assert report["fitted_rows"] == 4
    assert report["out_of_range"] == {"test": 0, "train": 0, "validation": 0}


def test_without_keys_each_column_is_scaled_by_its_type(normalize):
    report, table, _ = normalize()
    assert table["rooms"].to_list() == [0.0, 1.0, 0.5, 0.0]
    assert table["new"].to_list() == [1, 0, 1, 1]
    assert table["color"].to_list() == [1, 0, 1, 0]
    assert (report["scalar_columns"], report["binary_columns"], report["categorical_columns"]) == (2, 1, 1)


def test_columns_that_no_key_names_stay_as_they_are(normalize):
    keys = {"scalar_feature_keys": ["size"], "binary_feature_keys": [], "categorical_feature_keys": []}
    report, table, _ = normalize(**keys)
    assert table.drop("size").equals(pl.DataFrame(TABLE).drop("size"))
    assert report["unscaled_features"] == 3


def test_globs_and_names_may_be_mixed(normalize):
    infos = read_infos(
        normalize(
            {**TABLE, "rooms": [1, 3, 1, 1]}, scalar_feature_keys=["s*"], categorical_feature_keys=["rooms", "col*"]
        )[2]
    )
    assert [(info.name, info.kind) for info in infos] == [
        ("size", "scalar"),
        ("rooms", "categorical"),
        ("new", "binary"),
        ("color", "categorical"),
    ]


def test_a_name_with_brackets_is_found_as_it_is_written(normalize):
    columns = {**TABLE, "width [cm]": [1, 2, 3, 4]}
    assert normalize(columns, scalar_feature_keys=["width [cm]"])[1]["width [cm]"].to_list() == [0, 1, 2, 3]


def test_the_file_of_the_scaling_has_the_name_that_was_asked_for(normalize):
    _, _, folder = normalize(output_norm_feature_info_file_name="scaling.yml")
    assert {path.name for path in folder.iterdir()} == {"normalized.parquet", "scaling.yml", "table.json"}
    assert read_table_info(folder).target_column == "price"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"scalar_feature_keys": ["sise"]}, "scalar_feature_keys 'sise': matches no column. Did you mean 'size'?"),
        ({"scalar_feature_keys": ["px_*"]}, "scalar_feature_keys 'px_*': matches no column."),
        ({"binary_feature_keys": ["nwe*"]}, "binary_feature_keys 'nwe*': matches no column. Did you mean 'new'?"),
        ({"scalar_feature_keys": ["price"]}, "'price': is the target, which keeps its own unit"),
        ({"scalar_feature_keys": ["subset"]}, "'subset': is a column, but not a feature"),
        ({"scalar_feature_keys": ["color"]}, "column 'color' holds String, expected numbers"),
        ({"categorical_feature_keys": ["size"]}, "column 'size' holds Float64, expected texts, whole numbers"),
        ({"scalar_feature_keys": ["s*", "size"]}, "'size' is matched by scalar_feature_keys 's*' already"),
        (
            {"scalar_feature_keys": ["r*"], "binary_feature_keys": ["rooms"]},
            "binary_feature_keys 'rooms': column 'rooms' is matched by scalar_feature_keys 'r*' already",
        ),
    ],
)
def test_keys_that_can_not_apply_are_refused(normalize, keys, message):
    assert message in refused(normalize, **keys)


def test_all_wrong_keys_are_reported_at_once(normalize):
    message = refused(normalize, scalar_feature_keys=["x", "color"], binary_feature_keys=["y"])
    assert message.count("\n  - ") == 3


GAPS = {**TABLE, "size": [0.0, None, float("nan"), 10.0], "color": ["red", None, "red", None]}


def test_missing_and_infinite_values_are_named_by_column_with_their_number(normalize):
    columns = {**GAPS, "size": [0.0, None, float("nan"), float("inf")]}
    message = refused(normalize, columns, missing={"numbers": "refuse", "categories": "refuse"})
    assert "column 'size': 3 of 4 rows, the first is item '1'" in message
    assert "column 'color': 2 of 4 rows, the first is item '1'" in message
    assert "normalized.missing: {numbers: median, categories: level}" in message
    assert "column 'size': 1 of 4 rows, the first is item '3'" in refused(normalize, columns)


def test_gaps_are_filled_as_train_says_and_marked(normalize):
    report, table, folder = normalize({**GAPS, "size": [4.0, None, float("nan"), 10.0]})
    assert table["size"].to_list() == [0.0, 0.0, 0.0, 6.0]
    assert table["size_missing"].to_list() == [0, 1, 1, 0]
    assert table["color"].to_list() == [0, 1, 0, 1]
    assert read_table_info(folder).features == ("size", "rooms", "new", "color", "size_missing")
    assert report["missing_values"] == {"size": 2, "color": 2}
    assert report["columns_of_gaps"] == {"size_missing": "size"}
    assert table.null_count().sum_horizontal()[0] == 0


def test_gaps_that_only_other_subsets_have_are_filled_too(normalize):
    columns = {
        **TABLE,
        "size": [2.0, 4.0, None, 5.0],
        "color": ["red", "blue", None, "blue"],
        "new": [True, True, None, True],
    }
    report, table, _ = normalize(columns)
    assert table["size"].to_list() == [0.0, 1.0, 0.5, 1.5]
    assert table["color"].to_list() == [1, 0, 0, 0]
    assert table["new"].to_list() == [0, 0, 0, 0]
    assert "columns_of_gaps" not in report


def test_rows_of_train_with_gaps_can_be_left_out(normalize):
    columns = {**TABLE, "size": [None, 4.0, None, 5.0], "new": [True] * 4, "color": ["red"] * 4}
    report, table, _ = normalize(columns, missing={"drop_rows": True})
    assert table["item"].to_list() == ["1", "2", "3"]
    assert table["size"].to_list() == [0.0, 0.0, 1.0]
    assert report["rows_left_out"] == 1
    assert "size_missing" not in table.columns
    message = refused(normalize, {**TABLE, "size": [None, None, 1.0, 5.0]}, missing={"drop_rows": True})
    assert "drop_rows leaves no row of train" in message


def test_a_column_without_a_value_in_train_is_named(normalize):
    message = refused(normalize, {**TABLE, "size": [None, None, 1.0, 5.0]})
    assert "column 'size': no value in any of 2 rows" in message


def test_classes_that_train_lacks_are_an_error_with_the_way_out(normalize):
    columns = {**TABLE, "color": ["red", "blue", "green", "blue"], "new": [True, True, True, False]}
    message = refused(normalize, columns)
    assert "column 'color': 'green' in 1 row, but the fitted rows have only 'blue', 'red'" in message
    assert "column 'new': False in 1 row" in message
    assert "normalized.unseen_categories: code" in message


def test_classes_that_train_lacks_can_have_a_code(normalize):
    columns = {**TABLE, "color": ["red", "blue", "green", "pink"]}
    assert normalize(columns, unseen_categories="code")[1]["color"].to_list() == [1, 0, 2, 2]


def test_the_report_counts_what_lies_beyond_train_however_it_is_scaled(normalize):
    rows = 60
    columns = {
        "item": [str(row) for row in range(rows)],
        "subset": ["train"] * 50 + ["test"] * 10,
        "even": [*range(50), *range(45, 55)],
        "skewed": [1.3**row for row in range(rows)],
        "town": ["a", "b"] * 25 + ["new"] * 10,
        "price": [*range(rows)],
    }
    report, table, _ = normalize(columns, numbers="auto", categories="levels")
    assert report["columns_by_rank"] == ["skewed"]
    assert report["levels"] == {"town": 2}
    assert (report["scalar_columns"], report["out_of_range"]) == (2, {"test": 15, "train": 0})
    assert table["town"].to_list()[-1] == 2


def test_a_table_without_train_rows_is_refused(normalize):
    assert "no row of the subset 'train'" in refused(normalize, {**TABLE, "subset": ["test"] * 4})


def test_constant_columns_are_reported(normalize):
    report, table, _ = normalize({**TABLE, "size": [3.0] * 4})
    assert table["size"].to_list() == [0.0] * 4
    assert report["constant_columns"] == ["size"]


@pytest.mark.defect("B10")
def test_a_subset_that_is_empty_after_a_new_division_keeps_no_old_rows(tabular_folder, tmp_path):
    """Whatever files a table is made of: those of the former division are gone once the same result is built again."""
    store, section = ResultStore(tmp_path / "storage"), NormalizedSection(clear_folder=True)
    stage = StageConfig("ab12", "normalized", "regression", 42, section, "digest")
    only_train = {name: values[:2] for name, values in TABLE.items()}
    for columns, subsets in ((TABLE, {"train", "validation", "test"}), (only_train, {"train"})):
        tabular = tabular_folder(columns)
        result = build(
            store, stage, {}, partial(build_normalized, scan_parquet(tabular / "tabular.parquet"), tabular, section)
        )
        tables = [read_parquet(path) for path in result.folder.rglob("*.parquet")]
        assert {subset for table in tables for subset in table["subset"]} == subsets


def test_equal_input_gives_equal_bytes(normalize):
    one, two = (normalize(result=name)[2] for name in ("one", "two"))
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


CHOOSER = """
from typing import Literal
from assay.spec.extensions import Extension
from assay.spec.normalized import FeatureFunction
class Chosen(FeatureFunction):
    kind: Literal["chosen"] = "chosen"
    answer: str = "largest"
KIND = Extension(Chosen, "choosers:choose")
seen = []
def choose(section, rows, target):
    seen.append((rows.columns, rows["size"].to_list(), target))
    if section.answer == "fail":
        raise ValueError("no idea")
    return {"largest": ["size"], "number": 3, "target": ["price"], "twice": ["size", "size"]}[section.answer]
"""


@pytest.fixture
def chooser(install_package):
    """A package with a function that chooses columns; returns the module."""
    install_package("assay.features", "chosen", "choosers:KIND", choosers=CHOOSER)
    return lambda: sys.modules["choosers"]


def test_a_function_of_a_package_chooses_columns_by_the_fitted_rows_only(normalize, chooser):
    report, table, folder = normalize(scalar_feature_keys="chosen")
    assert chooser().seen == [(["size", "rooms", "new", "color", "price"], [0.0, 10.0], "price")]
    assert [info.name for info in read_infos(folder) if info.kind == "scalar"] == ["size"]
    assert table["rooms"].to_list() == TABLE["rooms"]
    assert report["scalar_columns"] == 1
    assert normalize(result="twice", scalar_feature_keys={"kind": "chosen", "answer": "twice"})[1].equals(table)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("number", "normalized.scalar_feature_keys: the function 'chosen' returned 3; expected a list of names of col"),
        ("target", "the function 'chosen' returned names of no features: 'price'"),
        ("fail", "The plug-in 'chosen' of the package added 1 (choosers:KIND) failed: ValueError: no idea"),
    ],
)
def test_a_function_that_answers_wrongly_is_one_error(normalize, chooser, answer, reason):
    with pytest.raises(AssayError) as caught:
        normalize(scalar_feature_keys={"kind": "chosen", "answer": answer})
    assert reason in str(caught.value)


def test_columns_that_a_function_chooses_for_two_keys_are_an_error(normalize, chooser):
    keys = {"scalar_feature_keys": "chosen", "categorical_feature_keys": ["size"]}
    assert "'size' is matched by scalar_feature_keys 'size' already" in refused(normalize, **keys)


DAYS = {**TABLE, "size": ["2024-03-01", "2024-03-31", None, "2023-01-01"]}


def test_parts_of_dates_take_their_place_among_the_features(normalize):
    report, table, folder = normalize(DAYS, dates="parts", missing={"indicators": False})
    parts = ("size_weekday", "size_day_of_year")
    assert read_table_info(folder).features == (*parts, "rooms", "new", "color")
    assert report["columns_of_dates"] == dict.fromkeys(parts, "size")
    assert table["size_day_of_year"].to_list() == [0.0, 1.0, 0.5, -2.0]
    assert table["size"].to_list() == DAYS["size"]
    assert table.select(parts).null_count().sum_horizontal()[0] == 0
    assert report["missing_values"] == dict.fromkeys(parts, 1)
    assert read_normalization(folder / "normalization_info.yaml").dates[0].parts == {
        "weekday": "size_weekday",
        "day_of_year": "size_day_of_year",
    }


def test_dates_stay_texts_where_they_are_listed_or_wanted_as_categories(normalize):
    as_texts = {"unseen_categories": "code"}
    assert "columns_of_dates" not in normalize(DAYS, **as_texts)[0]
    listed = {"dates": "parts", "categorical_feature_keys": ["s*", "color"], **as_texts}
    assert "columns_of_dates" not in normalize(DAYS, "listed", **listed)[0]


def test_the_dates_of_an_evaluated_table_become_the_parts_of_the_training(normalize, tabular_folder, tmp_path):
    _, _, trained = normalize(DAYS, dates="parts", unseen_categories="code")
    scaling = trained / "normalization_info.yaml"
    for values, message in ((["soon", *DAYS["size"][1:]], "'soon'"), ([1, 2, 3, 4], "holds Int64; expected dates")):
        tabular = tabular_folder({**DAYS, "size": values})
        (folder := tmp_path / f"evaluated-{message[:3]}").mkdir()
        with pytest.raises(DataError, match=message):
            build_normalized(
                scan_parquet(tabular / "tabular.parquet"), tabular, NormalizedSection(), folder, scaling=scaling
            )
    tabular = tabular_folder({**DAYS, "size": ["2024-03-31", "2024-03-01", "2020-01-01", "2020-01-01"]})
    (folder := tmp_path / "evaluated").mkdir()
    build_normalized(scan_parquet(tabular / "tabular.parquet"), tabular, NormalizedSection(), folder, scaling=scaling)
    assert read_parquet(folder / "normalized.parquet")["size_day_of_year"].to_list()[:2] == [1.0, 0.0]


def test_a_subset_whose_dates_have_another_form_than_those_of_train_is_refused(normalize):
    """Later rows are often written by another program; all their dates would count as missing."""
    train, test = ["2024-03-01", "2024-03-31"] * 10, [f"{day}.4.2024" for day in range(1, 13)]
    columns = {
        "item": [str(place) for place in range(32)],
        "subset": ["train"] * 20 + ["test"] * 12,
        "sold": [*train, *test],
        "size": list(range(32)),
        "price": list(range(32)),
    }
    told = refused(normalize, columns, dates="parts")
    assert "Dates are written in another form than in train. Write all of them as 2024-01-31" in told
    assert "column 'sold': 12 values of test are no dates, such as '1.4.2024'" in told
    few = {**columns, "sold": [*train, *test[:9], *train[:3]]}
    assert normalize(few, "few", dates="parts")[0]["no_dates"] == {"sold": 9}
