import polars as pl
import pytest

from assay.errors import DataError
from assay.storage.parquet import decode_types, encode_types, storage_schema, storage_type


def test_plain_types_need_no_note() -> None:
    schema = pl.Schema({"a": pl.Int8, "b": pl.String, "c": pl.List(pl.Float32), "d": pl.Decimal(10, 2)})
    assert encode_types(schema, storage_schema(schema)) == ""


def test_changed_types_are_written_down_and_read_back_exactly() -> None:
    changed = {"d": pl.Duration("ms"), "e": pl.Enum(["b", "a"]), "t": pl.Datetime("ms", "Asia/Tokyo"), "n": pl.Null}
    schema = pl.Schema({"plain": pl.Int64, **changed})
    assert decode_types(encode_types(schema, storage_schema(schema))) == pl.Schema(changed)


def test_nested_types_are_stored_by_the_same_rules() -> None:
    nested = pl.List(pl.Struct({"d": pl.Duration("ms"), "a": pl.Array(pl.Categorical(), 2)}))
    assert storage_type(nested) == pl.List(pl.Struct({"d": pl.Int64(), "a": pl.List(pl.String())}))


def test_every_column_that_cannot_be_stored_is_named_at_once() -> None:
    schema = pl.Schema({"big": pl.Int128, "Same": pl.Int8, "same": pl.Int8, "": pl.Int8, "x": pl.List(pl.Null)})
    with pytest.raises(DataError) as caught:
        storage_schema(schema)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert all(word in text for word in ("'big' has type Int128", "'Same' and 'same'", "named ''", "'x' has nothing"))


def test_a_table_without_columns_is_refused() -> None:
    with pytest.raises(DataError, match="no columns"):
        storage_schema(pl.Schema())
