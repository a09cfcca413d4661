"""How a column is scaled, and that the way back is exact."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from assay.datasets.scaling import (
    BinaryInfo,
    CategoricalInfo,
    NormalizationInfo,
    ScalarInfo,
    fit_scaling,
    read_normalization,
)
from assay.errors import DataError, StorageError
from assay.spec.normalized import NormalizedSection

WHOLE = st.lists(st.integers(-(2**48), 2**48), min_size=1, max_size=20)
GREY = st.lists(st.floats(0, 255, width=32).filter(lambda value: value == 0 or value > 1e-3), min_size=1, max_size=20)
FRACTIONS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=1, max_size=20)


def fitted(column, kind, **keys):
    (info,) = fit_scaling(column.to_frame("x"), {"x": kind}, NormalizedSection(**keys))
    return info


def there_and_back(column, kind):
    info = fitted(column, kind)
    return info.inverse(info.apply(column))


@given(WHOLE)
@settings(max_examples=50)
def test_whole_numbers_come_back_exactly(values):
    column = pl.Series("x", values, dtype=pl.Int64)
    assert_series_equal(there_and_back(column, "scalar"), column, check_exact=True)


@given(GREY)
@settings(max_examples=50)
def test_grey_levels_come_back_exactly(values):
    column = pl.Series("x", values, dtype=pl.Float32)
    assert_series_equal(there_and_back(column, "scalar"), column, check_exact=True)


@given(FRACTIONS)
@settings(max_examples=50)
def test_fractions_come_back_to_the_last_bits_of_their_span(values):
    column = pl.Series("x", values, dtype=pl.Float64)
    span = max(max(values) - min(values), max(map(abs, values)))
    assert (there_and_back(column, "scalar") - column).abs().max() <= span * 2**-51


@given(TEXTS)
@settings(max_examples=30)
def test_classes_come_back_exactly(values):
    column = pl.Series("x", values, dtype=pl.String)
    assert_series_equal(there_and_back(column, "categorical"), column)


@pytest.mark.parametrize("values", [[True, False, True], ["no", "yes"], [3, 7], ["same", "same"]])
def test_two_values_become_zero_and_one_and_come_back(values):
    column = pl.Series("x", values)
    info = fitted(column, "binary")
    assert set(info.apply(column)) <= {0, 1}
    assert info.values == tuple(sorted(set(values)))
    assert_series_equal(info.inverse(info.apply(column)), column)


@given(FRACTIONS)
@settings(max_examples=30)
def test_fitted_rows_span_zero_to_one(values):
    scaled = fitted(pl.Series("x", values), "scalar").apply(pl.Series("x", values))
    assert scaled.min() == 0
    assert scaled.max() == (1 if len(set(values)) > 1 else 0)


def test_a_constant_column_becomes_zero():
    info = fitted(pl.Series("x", [5, 5]), "scalar")
    assert (info.offset, info.divisor) == (5, 1)
    assert info.inverse(info.apply(pl.Series("x", [5, 6]))).to_list() == [5, 6]


@pytest.mark.defect("A8")
def test_a_mean_squared_error_is_multiplied_by_the_square_of_the_divisor():
    info = ScalarInfo(name="target", dtype="Float64", offset=0, divisor=4)
    truth, guess = pl.Series([1.0, 2.0, 3.0]), pl.Series([1.4, 1.6, 3.4])
    scaled_mse = ((info.apply(truth) - info.apply(guess)) ** 2).mean()
    assert scaled_mse == pytest.approx(0.01)
    assert info.mse_in_unit(scaled_mse) == pytest.approx(0.16)
    assert info.mae_in_unit(0.1) == pytest.approx(0.4)


def test_a_class_that_was_not_fitted_is_refused_with_its_rows():
    info = fitted(pl.Series("x", ["a", "b"]), "categorical")
    with pytest.raises(DataError, match=r"column 'x': 'c' in 2 rows, but the fitted rows have only 'a', 'b'"):
        info.apply(pl.Series("x", ["a", "c", "c"]))


def test_classes_that_were_not_fitted_can_share_one_code():
    info = fitted(pl.Series("x", ["b", "a"]), "categorical", unseen_categories="code")
    codes = info.apply(pl.Series("x", ["a", "b", "c", "d"]))
    assert codes.to_list() == [0, 1, 2, 2]
    assert info.inverse(codes).to_list() == ["a", "b", None, None]


def test_more_than_two_values_are_not_binary():
    with pytest.raises(DataError, match=r"column 'x' has 3 values \(1, 2, 3, …\), expected 2"):
        fitted(pl.Series("x", [1, 2, 3]), "binary")


def test_a_span_beyond_all_numbers_is_refused():
    with pytest.raises(DataError, match="more than Float64 holds"):
        fitted(pl.Series("x", [-1.7e308, 1.7e308]), "scalar")


def test_the_file_gives_back_exactly_what_was_written(tmp_path):
    info = NormalizationInfo(
        fitted_rows=3,
        norm_infos=(
            ScalarInfo(name="a: b", dtype="Float64", offset=1e-300, divisor=0.1 + 0.2),
            BinaryInfo(name="yes", dtype="Boolean", values=(False, True)),
            CategoricalInfo(name="c", dtype="String", values=("1", "no", "null", "ä\n"), unseen_code=4),
            CategoricalInfo(name="d", dtype="Int64", values=(1, 2)),
        ),
    )
    info.write(tmp_path / "info.yaml")
    assert read_normalization(tmp_path / "info.yaml") == info
    text = (tmp_path / "info.yaml").read_text(encoding="utf-8")
    assert text.startswith("fit_on: train\nfitted_rows: 3\nnorm_infos:\n- kind: scalar\n")


def test_a_whole_table_comes_back(tmp_path):
    table = pl.DataFrame({"item": ["0", "1"], "a": [1.5, 2.5], "b": [True, False], "c": ["x", "y"]})
    kinds = {"a": "scalar", "b": "binary", "c": "categorical"}
    info = NormalizationInfo(fitted_rows=2, norm_infos=fit_scaling(table, kinds, NormalizedSection()))
    scaled = info.apply(table)
    assert scaled.columns == table.columns
    assert scaled["item"].to_list() == ["0", "1"]
    assert info.inverse(scaled).equals(table)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "info.yaml").write_text("fitted_rows: many\n")
    with pytest.raises(StorageError, match=r"info\.yaml can't be read as normalization"):
        read_normalization(tmp_path / "info.yaml")


SKEWED = [float(round(1.25**power, 6)) for power in range(60)]


def test_standardized_values_have_mean_0_and_deviation_1_and_are_clipped_far_outside():
    column = pl.Series("x", [1.0, 2.0, 3.0, 4.0])
    info = fitted(column, "scalar", numbers="standard")
    scaled = info.apply(column)
    assert (scaled.mean(), scaled.std(ddof=0)) == (pytest.approx(0), pytest.approx(1))
    assert info.ends == (scaled[0], scaled[3])
    assert info.apply(pl.Series("x", [1e9, -1e9])).to_list() == [scaled[3] + 3, scaled[0] - 3]
    assert_series_equal(info.inverse(scaled), column)


def test_ranks_are_normally_distributed_whatever_the_values():
    column = pl.Series("x", SKEWED)
    info = fitted(column, "scalar", numbers="ranks")
    scaled = info.apply(column)
    assert scaled.is_sorted()
    assert (scaled.mean(), scaled.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.06))
    assert_series_equal(info.inverse(scaled), column, rel_tol=1e-9)
    assert info.apply(pl.Series("x", [-5.0, 1e9])).to_list() == [scaled[0], scaled[-1]]


def test_of_equal_values_the_rank_is_the_mean():
    info = fitted(pl.Series("x", [0] * 30 + [1] * 10), "scalar", numbers="ranks")
    assert info.values == (0.0, 1.0)
    assert info.normals[0] < 0 < info.normals[1]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (SKEWED, "ranks"),
        ([*range(100), 5000], "ranks"),
        ([0.0] * 80 + SKEWED, "ranks"),
        (range(100), "scalar"),
        ([0] * 90 + [1] * 10, "scalar"),
        ([*range(1, 8), 12] * 5, "scalar"),
        ([4.0, 4.0], "scalar"),
    ],
)
def test_ranks_are_for_columns_with_outliers_or_much_skew(values, kind):
    assert fitted(pl.Series("x", values), "scalar", numbers="auto").kind == kind


TOWNS = pl.Series("x", ["b"] * 5 + ["a"] * 4 + ["c", "d"] + [None])


def test_rare_and_unseen_categories_share_a_level():
    info = fitted(TOWNS, "categorical", categories="levels")
    assert (info.values, info.level_names) == (("a", "b"), ("a", "b", "(missing)", "(other)"))
    assert info.apply(pl.Series("x", ["a", "b", None, "c", "new"])).to_list() == [0, 1, 2, 3, 3]


def test_unseen_categories_have_no_level_where_none_is_rare():
    info = fitted(TOWNS.drop_nulls(), "categorical", categories="levels", rare_below=1)
    assert info.level_names == ("a", "b", "c", "d")
    assert info.apply(pl.Series("x", ["d", "new"])).to_list() == [3, 4]


def test_levels_are_at_most_so_many_and_at_least_one():
    many = fitted(pl.Series("x", [str(number) for number in range(300)] * 3), "categorical", categories="levels")
    assert (len(many.values), len(many.level_names)) == (250, 251)
    assert fitted(pl.Series("x", ["a", "b"]), "categorical", categories="levels").level_names == ("a", "(other)")


def test_where_unseen_categories_are_an_error_rare_ones_are_levels_of_their_own():
    info = fitted(TOWNS, "categorical", categories="levels", unseen_categories="error")
    assert info.level_names == ("a", "b", "c", "d", "(missing)")
    with pytest.raises(DataError, match="'new' in 1 row,"):
        info.apply(pl.Series("x", ["new"]))


def test_a_truth_value_that_train_lacks_is_none_that_is_unknown():
    assert fitted(pl.Series("x", [True]), "binary", categories="levels").values == (False, True)
