import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._check import CheckError

from assay.errors import AssayError, DataError, IdError, StorageError
from assay.storage.files import sha256_of
from assay.storage.parquet import StoredTable, stored_frame, table_of, write_parquet
from assay.storage.partitions import place_of
from assay.storage.warehouse import query
from assay.utils.text import readable_size
from resources.io_managers import DuckDBParquetIOManager

EXPERIMENTS = dg.DynamicPartitionsDefinition(name="experiments")
FRAME = pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [0.5, None]})


@pytest.fixture(scope="module")
def one_instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(one_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    """The module's instance with both partitions and no other; what tests wrote is in folders of their own."""
    for key in one_instance.get_dynamic_partitions("experiments"):
        one_instance.delete_dynamic_partition("experiments", key)
    one_instance.add_dynamic_partitions("experiments", ["ab12", "cd34"])
    return one_instance


@pytest.fixture
def run(instance: dg.DagsterInstance, tmp_path: Path) -> Callable[..., dg.ExecuteInProcessResult]:
    def run(assets: list[Any], key: str | None = "ab12", select: str = "*", **config: Any) -> dg.ExecuteInProcessResult:
        manager = DuckDBParquetIOManager(database=str(tmp_path / "warehouse.duckdb"), **{"schema": "main"} | config)
        return dg.materialize(
            assets, selection=select, instance=instance, partition_key=key, resources={"io_manager": manager}
        )

    return run


def table_asset(value: Any, name: str = "features", **arguments: Any) -> dg.AssetsDefinition:
    metadata = {"partition_expr": "experiment_id"} | arguments.pop("metadata", {})

    @dg.asset(name=name, partitions_def=EXPERIMENTS, metadata=metadata, **arguments)
    def features(context: dg.AssetExecutionContext) -> Any:
        return value(context.partition_key) if callable(value) else value

    return features


def reader(annotation: Any, key: str = "features", **arguments: Any) -> tuple[dg.AssetsDefinition, list[Any]]:
    """Return an asset of the same partition that keeps what it was given."""
    seen: list[Any] = []

    def read(table: Any) -> None:
        seen.append(table)

    read.__annotations__["table"] = annotation
    ins = {"table": dg.AssetIn(key, metadata=arguments)}
    return dg.asset(name="read", partitions_def=EXPERIMENTS, ins=ins)(read), seen


@pytest.mark.parametrize("value", [FRAME, FRAME.lazy()], ids=["frame", "lazy"])
def test_a_frame_comes_back_as_it_was(value: Any, run) -> None:
    read, seen = reader(pl.DataFrame)
    run([table_asset(value), read])
    assert seen[0].equals(FRAME)


def test_the_annotation_decides_what_an_input_gets(run) -> None:
    for annotation in (Any, pl.DataFrame, pl.LazyFrame, pl.LazyFrame | None, pl.DataFrame | None):
        read, seen = reader(annotation)
        run([table_asset(FRAME), read])
        assert seen[0].lazy().collect().equals(FRAME)
        assert isinstance(seen[0], pl.DataFrame if annotation is Any else annotation)


@pytest.mark.parametrize("annotation", [pl.DataFrame, pl.LazyFrame])
def test_an_input_reads_only_the_columns_asked_for(annotation: Any, run) -> None:
    read, seen = reader(annotation, columns=["c", "a"])
    run([table_asset(FRAME), read])
    assert seen[0].lazy().collect().equals(FRAME.select("c", "a"))


def test_a_column_that_does_not_exist_is_named(run) -> None:
    read, _ = reader(pl.DataFrame, columns=["aa"])
    with pytest.raises(DataError, match=r"'aa' does not exist\. Did you mean 'a'"):
        run([table_asset(FRAME), read])


@pytest.mark.system
def test_each_partition_keeps_its_own_columns_in_its_own_order(run) -> None:
    frames = {
        "ab12": pl.DataFrame({"a": [1], "b": ["x"]}),
        "cd34": pl.DataFrame({"b": ["y"], "extra": [1.5], "a": [2]}),
    }
    read, seen = reader(pl.DataFrame)
    for key in frames:
        run([table_asset(frames.get), read], key)
    assert [table.columns for table in seen] == [["a", "b"], ["b", "extra", "a"]]


def test_a_typed_table_without_rows_is_stored(run, tmp_path: Path) -> None:
    read, seen = reader(pl.DataFrame)
    run([table_asset(FRAME.clear()), read])
    assert seen[0].schema == FRAME.schema
    assert query(tmp_path, "select * from features").is_empty()


@pytest.fixture
def all_partitions() -> tuple[dg.AssetsDefinition, list[Any]]:
    seen: list[Any] = []

    @dg.asset
    def compared(features: pl.DataFrame) -> None:
        seen.append(features)

    return compared, seen


@pytest.mark.system
def test_several_partitions_come_as_one_table_that_widens(run, all_partitions) -> None:
    compared, seen = all_partitions
    frames = {"ab12": pl.DataFrame({"a": [1]}), "cd34": pl.DataFrame({"b": ["x"], "a": [2.5]})}
    features = table_asset(frames.get)
    for key in frames:
        run([features], key)
    run([features, compared], None, "compared")
    assert seen[0].rows() == [(1.0, "ab12", None), (2.5, "cd34", "x")]
    assert seen[0].columns == ["a", "experiment_id", "b"]


@pytest.mark.system
def test_one_of_several_partitions_looks_like_the_others(run, all_partitions, instance) -> None:
    compared, seen = all_partitions
    instance.delete_dynamic_partition("experiments", "cd34")
    features = table_asset(FRAME)
    run([features])
    run([features, compared], None, "compared")
    assert seen[0]["experiment_id"].to_list() == ["ab12", "ab12"]


def test_of_several_partitions_those_that_exist_are_read(run, all_partitions) -> None:
    compared, seen = all_partitions
    features = table_asset(FRAME)
    run([features])
    run([features, compared], None, "compared")
    assert seen[0]["experiment_id"].to_list() == ["ab12", "ab12"]


def test_several_partitions_of_which_none_exists_are_named(run, all_partitions) -> None:
    with pytest.raises(StorageError, match=r"Experiment 'ab12', 'cd34' has no features yet\. Materialize features"):
        run([table_asset(FRAME), all_partitions[0]], None, "compared")


def test_without_any_partition_there_are_no_rows(run, all_partitions, instance) -> None:
    compared, seen = all_partitions
    for key in ("ab12", "cd34"):
        instance.delete_dynamic_partition("experiments", key)
    run([table_asset(FRAME), compared], None, "compared")
    assert seen[0].is_empty()


def test_optional_inputs_leave_missing_partitions_out(run) -> None:
    seen = []

    @dg.asset(ins={"table": dg.AssetIn("features", metadata={"optional": True, "columns": ["a"]})})
    def compared(table: pl.DataFrame | None) -> None:
        seen.append(table)

    features = table_asset(FRAME)
    run([features, compared], None, "compared")
    run([features])
    run([features, compared], None, "compared")
    assert seen[0] is None
    assert seen[1].rows() == [(1, "ab12"), (2, "ab12")]


def test_text_against_number_names_both_experiments(run, all_partitions) -> None:
    features = table_asset(lambda key: pl.DataFrame({"x": [1] if key == "ab12" else ["1"]}))
    run([features], "ab12")
    run([features], "cd34")
    with pytest.raises(DataError, match="numbers in partition 'ab12' and text in 'cd34'"):
        run([features, all_partitions[0]], None, "compared")


def test_an_optional_input_without_a_table_is_none(run) -> None:
    read, seen = reader(pl.DataFrame | None, optional=True)
    run([table_asset(FRAME), read], select="read")
    assert seen == [None]


def test_a_table_never_materialized_is_one_clear_error(run) -> None:
    read, _ = reader(pl.DataFrame)
    with pytest.raises(StorageError, match=r"Experiment 'ab12' has no features yet\. Materialize features first"):
        run([table_asset(FRAME), read], select="read")


def test_a_shared_result_is_stored_once_for_all_experiments(run, tmp_path: Path) -> None:
    source = tmp_path / "data" / "normalized.parquet"
    write_parquet(FRAME, source)
    read, seen = reader(pl.LazyFrame)
    for key in ("ab12", "cd34"):
        run([table_asset(stored_frame(StoredTable(source, "f00d"))), read], key)
    assert source.stat().st_nlink == 3
    assert [table_of(frame).fingerprint for frame in seen] == ["f00d", "f00d"]
    assert [table_of(frame).path for frame in seen] == [source, source]
    assert seen[1].collect().equals(FRAME)


def test_what_is_derived_from_a_stored_frame_is_a_table_of_its_own(run, tmp_path: Path) -> None:
    source = tmp_path / "data" / "normalized.parquet"
    write_parquet(FRAME, source)
    run([table_asset(stored_frame(StoredTable(source, "f00d")).filter(pl.col("a") > 1))])
    stored = place_of(tmp_path, "main", "features", "experiment_id", "ab12").current()
    assert stored.fingerprint != "f00d"
    assert stored.read()["a"].to_list() == [2]


def in_place(path: Path, tmp_path: Path) -> None:
    pl.DataFrame({"a": [0, 0], "b": ["", ""], "c": [0.0, 0.0]}).write_parquet(path)


def by_another_file(path: Path, tmp_path: Path) -> None:
    in_place(tmp_path / "other.parquet", tmp_path)
    (tmp_path / "other.parquet").replace(path)


@pytest.mark.parametrize("change", [in_place, by_another_file])
@pytest.mark.parametrize("is_result", [True, False])
@pytest.mark.system
def test_a_stored_table_changed_by_hand_is_refused_until_it_is_made_again(
    change: Any, is_result: bool, run, tmp_path: Path
) -> None:
    source = tmp_path / "data" / "features.parquet"
    write_parquet(FRAME, source)
    features = table_asset(stored_frame(StoredTable(source, "f00d")) if is_result else FRAME)
    read, seen = reader(pl.LazyFrame)
    run([features])
    change(place_of(tmp_path, "main", "features", "experiment_id", "ab12").current().path, tmp_path)
    with pytest.raises(StorageError, match=r"was changed after it was stored.*materialize features again"):
        run([features, read], select="read")
    if is_result:
        write_parquet(FRAME, source)
    run([features, read])
    assert [frame.collect().rows() for frame in seen] == [FRAME.rows()]


def test_a_result_changed_by_hand_is_not_stored_again(run, tmp_path: Path) -> None:
    source = tmp_path / "data" / "features.parquet"
    write_parquet(FRAME, source)
    made = StoredTable(source, "f00d", sha256_of(source))
    in_place(source, tmp_path)
    with pytest.raises(StorageError, match=r"was changed after it was made.*clear_folder"):
        run([table_asset(stored_frame(made))])
    assert place_of(tmp_path, "main", "features", "experiment_id", "ab12").current() is None


def test_a_storage_copied_elsewhere_is_still_what_was_stored(run, tmp_path: Path) -> None:
    read, seen = reader(pl.DataFrame)
    features = table_asset(FRAME)
    run([features])
    shutil.copytree(tmp_path / "tables", tmp_path / "copy", symlinks=True)
    shutil.rmtree(tmp_path / "tables")
    (tmp_path / "copy").rename(tmp_path / "tables")
    run([features, read], select="read")
    assert seen[0].equals(FRAME)


def test_the_ui_shows_rows_columns_size_and_place(run) -> None:
    (event,) = run([table_asset(FRAME)]).asset_materializations_for_node("features")
    shown = {name: entry.value for name, entry in event.metadata.items()}
    assert shown["dagster/partition_row_count"] == 2
    assert shown["dagster/table_name"] == "main.features"
    assert {column.name: column.type for column in shown["dagster/column_schema"].columns} == {
        "a": "Int64",
        "b": "String",
        "c": "Float64",
    }
    assert shown["Query"] == "SELECT * FROM main.features WHERE\nexperiment_id in ('ab12')"
    assert shown["table_size"] == readable_size(Path(shown["table_path"]).stat().st_size)


@pytest.mark.system
def test_a_very_wide_table_shows_columns_of_a_kind_as_one(run) -> None:
    wide = pl.DataFrame({"item": ["a"], **{f"px_0_{index}": [0] for index in range(4096)}})
    (event,) = run([table_asset(wide)]).asset_materializations_for_node("features")
    assert event.metadata["table_columns"].value == 4097
    columns = event.metadata["dagster/column_schema"].value.columns
    assert [(column.name, column.type) for column in columns] == [("item", "String"), ("px_*", "Int64 × 4,096")]
    assert "grey level" in columns[1].description


def test_metadata_and_data_version_of_the_asset_stay(run) -> None:
    result = dg.MaterializeResult(value=FRAME, metadata={"size_bytes": 7}, data_version=dg.DataVersion("v7"))
    (event,) = run([table_asset(result)]).asset_materializations_for_node("features")
    assert event.metadata["size_bytes"].value == 7
    assert event.tags["dagster/data_version"] == "v7"


@pytest.mark.parametrize(
    ("arguments", "config", "table"),
    [
        ({}, {}, "main/features"),
        ({"key_prefix": ["deep", "prefix"]}, {"schema": None}, "prefix/features"),
        ({}, {"schema": None}, "public/features"),
        ({"key_prefix": "prefix"}, {"schema": "configured"}, "configured/features"),
        ({"metadata": {"schema": "chosen"}}, {"schema": "configured"}, "chosen/features"),
        ({"metadata": {"table": "experiments"}}, {}, "main/experiments"),
    ],
)
def test_schema_and_table_follow_dagster_duckdb(arguments: Any, config: Any, table: str, run, tmp_path: Path) -> None:
    run([table_asset(FRAME, **arguments)], **config)
    assert [str(path.relative_to(tmp_path / "tables")) for path in tmp_path.glob("tables/*/*")] == [table]


def test_partition_expr_names_the_partition_column(run, tmp_path: Path) -> None:
    run([table_asset(FRAME, metadata={"partition_expr": "day"})])
    assert query(tmp_path, "select distinct day from features").rows() == [("ab12",)]


def test_an_asset_without_partitions_is_a_table_too(run, tmp_path: Path) -> None:
    @dg.asset
    def single() -> pl.DataFrame:
        return FRAME

    @dg.asset
    def after(single: pl.DataFrame) -> None:
        assert single.equals(FRAME)

    (event,) = run([single, after], None).asset_materializations_for_node("single")
    assert event.metadata["dagster/row_count"].value == 2
    assert query(tmp_path, "select count(*) from single").item() == 2


@pytest.mark.parametrize("key", ["../../up", "a/b", "it's", "ü", "a" * 300, "a=b", 'x"; drop', "new\nline", "latest"])
@pytest.mark.system
def test_odd_partition_keys_are_refused_and_nothing_is_written(key: str, run, instance, tmp_path: Path) -> None:
    # Dagster itself takes all of these.
    instance.add_dynamic_partitions("experiments", [key])
    read, _ = reader(pl.DataFrame)
    for select in ("features", "read"):
        with pytest.raises(IdError):
            run([table_asset(FRAME), read], key, select)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metadata", [{"schema": "../up"}, {"table": "a b"}])
def test_odd_names_in_metadata_are_refused(metadata: dict[str, str], run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="letters, digits and underscores"):
        run([table_asset(FRAME, metadata=metadata)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [{"a": 1}, [1], "text"])
def test_a_value_that_is_not_a_table_is_refused_by_name(value: Any, run) -> None:
    with pytest.raises(CheckError, match=f"DuckDBIOManager does not have a handler for type '{type(value)}'"):
        run([table_asset(value)])


def test_no_value_is_refused(run) -> None:
    with pytest.raises(dg.DagsterInvariantViolationError, match="Unexpected 'None' output value"):
        run([table_asset(None)])


def test_an_annotation_that_is_not_a_table_is_refused(run) -> None:
    read, _ = reader(dict)
    with pytest.raises(CheckError, match="does not have a handler for type '<class 'dict'>'"):
        run([table_asset(FRAME), read])


def test_a_partitioned_asset_says_what_tells_its_partitions_apart(run) -> None:
    @dg.asset(partitions_def=EXPERIMENTS)
    def features() -> pl.DataFrame:
        return FRAME

    with pytest.raises(ValueError, match="no 'partition_expr' metadata value"):
        run([features])


def test_a_failed_write_leaves_the_former_table(run, tmp_path: Path) -> None:
    run([table_asset(FRAME)])
    with pytest.raises(AssayError):
        run([table_asset(pl.DataFrame({"a": pl.Series([1], dtype=pl.Int128)}))])
    assert place_of(tmp_path, "main", "features", "experiment_id", "ab12").current().read().equals(FRAME)


def test_sql_sees_what_the_assets_wrote(run, tmp_path: Path) -> None:
    for key in ("ab12", "cd34"):
        run([table_asset(FRAME)], key)
    answer = query(tmp_path, "select experiment_id, sum(a)::int as total from features group by all order by all")
    assert answer.rows() == [("ab12", 3), ("cd34", 3)]
