"""The cases of dagster-duckdb-polars' own tests, told of our I/O manager; docs/tables.md lists them.

There a table is looked at through a connection to its database; here through SQL over the storage, as users do.
"""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._check import CheckError
from dagster_duckdb import DuckDBIOManager

from assay.errors import DataError, StorageError
from assay.storage.partitions import place_of
from assay.storage.warehouse.query import query
from resources.io_managers import DuckDBParquetIOManager

# A mapping of dimensions and a policy of backfills, which these cases need, are in beta there.
pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore::dagster.BetaWarning")]

SCHEMA = ["my_schema"]
DAYS = dg.DailyPartitionsDefinition(start_date="2022-01-01", end_date="2022-01-10")
COLORS = dg.StaticPartitionsDefinition(["red", "yellow", "blue"])
DAYS_AND_COLORS = dg.MultiPartitionsDefinition({"time": DAYS, "color": COLORS})
FRUITS = dg.DynamicPartitionsDefinition(name="fruits")


@pytest.fixture
def manager(tmp_path: Path) -> DuckDBParquetIOManager:
    return DuckDBParquetIOManager(database=str(tmp_path / "unit_test.duckdb"))


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def materialize(manager: DuckDBParquetIOManager, instance: dg.DagsterInstance) -> Callable[..., Any]:
    def materialize(*assets: Any, key: Any = None, value: str = "", **arguments: Any) -> dg.ExecuteInProcessResult:
        config = {"ops": {asset.op.name: {"config": {"value": value}} for asset in assets if value}}
        return dg.materialize(
            list(assets),
            partition_key=key,
            resources={"io_manager": manager},
            instance=instance,
            run_config=config,
            **arguments,
        )

    return materialize


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[Any]]:
    def rows(table: str, column: str = "a") -> list[Any]:
        return sorted(query(tmp_path, f"select {column} from {table}")[column].to_list())

    return rows


def test_it_is_dagster_duckdbs_manager(manager: DuckDBParquetIOManager) -> None:
    assert isinstance(manager, DuckDBIOManager)
    assert set(DuckDBParquetIOManager.model_fields) == set(DuckDBIOManager.model_fields)


def test_io_manager_with_ops(manager, rows) -> None:
    @dg.op(out=dg.Out(metadata={"schema": "a_df"}))
    def a_df() -> pl.DataFrame:
        return pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})

    @dg.op(out=dg.Out(metadata={"schema": "add_one"}))
    def add_one(df: pl.DataFrame) -> Any:
        return df + 1

    @dg.graph
    def add_one_to_dataframe() -> None:
        add_one(a_df())

    job = add_one_to_dataframe.to_job(resource_defs={"io_manager": manager})
    for _ in range(2):
        assert job.execute_in_process().success
        assert rows("a_df.result") == [1, 2, 3]
        assert rows("add_one.result") == [2, 3, 4]


@dg.asset(key_prefix=SCHEMA)
def b_df() -> pl.DataFrame:
    return pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})


@dg.asset(key_prefix=SCHEMA)
def b_plus_one(b_df: pl.DataFrame) -> pl.DataFrame:
    return b_df + 1


def test_io_manager_with_assets(materialize, rows) -> None:
    for _ in range(2):
        assert materialize(b_df, b_plus_one).success
        assert rows("my_schema.b_df") == [1, 2, 3]
        assert rows("my_schema.b_plus_one") == [2, 3, 4]


def test_io_manager_with_schema(tmp_path, rows) -> None:
    @dg.asset
    def my_df() -> pl.DataFrame:
        return pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})

    @dg.asset
    def my_df_plus_one(my_df: pl.DataFrame) -> pl.DataFrame:
        return my_df + 1

    manager = DuckDBParquetIOManager(database=str(tmp_path / "unit_test.duckdb"), schema="custom_schema")
    for _ in range(2):
        assert dg.materialize([my_df, my_df_plus_one], resources={"io_manager": manager}).success
        assert rows("custom_schema.my_df") == [1, 2, 3]
        assert rows("custom_schema.my_df_plus_one") == [2, 3, 4]


def test_loading_columns(materialize, rows, tmp_path) -> None:
    @dg.asset(key_prefix=SCHEMA, ins={"b_df": dg.AssetIn("b_df", metadata={"columns": ["a"]})})
    def b_plus_one_columns(b_df: pl.DataFrame) -> pl.DataFrame:
        return b_df + 1

    for _ in range(2):
        assert materialize(b_df, b_plus_one_columns).success
        assert rows("my_schema.b_plus_one_columns") == [2, 3, 4]
        assert query(tmp_path, "select * from my_schema.b_plus_one_columns").columns == ["a"]


def test_not_supported_type(manager) -> None:
    @dg.op
    def non_supported_type() -> int:
        return 1

    @dg.graph
    def not_supported() -> None:
        non_supported_type()

    with pytest.raises(CheckError, match="DuckDBIOManager does not have a handler for type '<class 'int'>'"):
        not_supported.to_job(resource_defs={"io_manager": manager}).execute_in_process()


@dg.asset(partitions_def=DAYS, key_prefix=SCHEMA, metadata={"partition_expr": "time"}, config_schema={"value": str})
def daily_partitioned(context: dg.AssetExecutionContext) -> pl.DataFrame:
    day = datetime.fromisoformat(context.partition_key)
    return pl.DataFrame({"time": [day] * 3, "a": [context.op_execution_context.op_config["value"]] * 3, "b": [4, 5, 6]})


def test_time_window_partitioned_asset(materialize, rows) -> None:
    materialize(daily_partitioned, key="2022-01-01", value="1")
    assert rows("my_schema.daily_partitioned") == ["1", "1", "1"]
    materialize(daily_partitioned, key="2022-01-02", value="2")
    assert rows("my_schema.daily_partitioned") == ["1", "1", "1", "2", "2", "2"]
    materialize(daily_partitioned, key="2022-01-01", value="3")
    assert rows("my_schema.daily_partitioned") == ["2", "2", "2", "3", "3", "3"]


def test_a_range_of_days_is_read_as_one_table(materialize) -> None:
    seen: list[pl.DataFrame] = []

    @dg.asset
    def monthly(daily_partitioned: pl.DataFrame) -> None:
        seen.append(daily_partitioned)

    for day, value in (("2022-01-01", "1"), ("2022-01-03", "3")):
        materialize(daily_partitioned, key=day, value=value)
    materialize(daily_partitioned, monthly, selection=[monthly])
    assert seen[0].columns == ["time", "a", "b"]
    assert seen[0].schema["time"] == pl.Datetime("us")
    assert seen[0]["a"].to_list() == ["1", "1", "1", "3", "3", "3"]


def test_rows_of_another_day_are_refused(materialize) -> None:
    @dg.asset(partitions_def=DAYS, key_prefix=SCHEMA, metadata={"partition_expr": "time"})
    def late() -> pl.DataFrame:
        return pl.DataFrame({"time": [datetime(2022, 1, 1), datetime(2022, 1, 2)]})

    with pytest.raises(DataError, match="1 of 2 rows lie in other partitions by time"):
        materialize(late, key="2022-01-01")


@dg.asset(partitions_def=COLORS, key_prefix=SCHEMA, metadata={"partition_expr": "color"}, config_schema={"value": str})
def static_partitioned(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "color": [context.partition_key] * 3,
            "a": [context.op_execution_context.op_config["value"]] * 3,
            "b": [4, 5, 6],
        }
    )


def test_static_partitioned_asset(materialize, rows) -> None:
    materialize(static_partitioned, key="red", value="1")
    assert rows("my_schema.static_partitioned") == ["1", "1", "1"]
    materialize(static_partitioned, key="blue", value="2")
    assert rows("my_schema.static_partitioned") == ["1", "1", "1", "2", "2", "2"]
    materialize(static_partitioned, key="red", value="3")
    assert rows("my_schema.static_partitioned") == ["2", "2", "2", "3", "3", "3"]


def test_an_unpartitioned_asset_reads_the_partitions_that_exist(materialize) -> None:
    seen: list[pl.DataFrame] = []

    @dg.asset(ins={"static_partitioned": dg.AssetIn(partition_mapping=dg.AllPartitionMapping())})
    def whole(static_partitioned: pl.DataFrame) -> None:
        seen.append(static_partitioned)

    for color in ("red", "blue"):
        materialize(static_partitioned, key=color, value=color)
    materialize(static_partitioned, whole, selection=[whole])
    assert sorted(seen[0]["color"].to_list()) == ["blue"] * 3 + ["red"] * 3
    assert set(seen[0].columns) == {"color", "a", "b"}


def test_keys_may_be_any_text(instance, materialize, rows) -> None:
    @dg.asset(partitions_def=FRUITS, metadata={"partition_expr": "fruit"})
    def features(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame({"fruit": [context.partition_key], "a": [1]})

    keys = ["a/b", "../up", "100 % Ökö", "it's", 'x"; drop', ".", "a=b", "%2F"]
    instance.add_dynamic_partitions("fruits", keys)
    for key in keys:
        materialize(features, key=key)
    assert rows("public.features", "fruit") == sorted(keys)


EXPRESSIONS = {"time": "CAST(time as TIMESTAMP)", "color": "color"}


@dg.asset(
    partitions_def=DAYS_AND_COLORS,
    key_prefix=SCHEMA,
    metadata={"partition_expr": EXPRESSIONS},
    config_schema={"value": str},
)
def multi_partitioned(context: dg.AssetExecutionContext) -> pl.DataFrame:
    own = context.partition_key.keys_by_dimension
    return pl.DataFrame(
        {
            "color": [own["color"]] * 3,
            "time": [own["time"]] * 3,
            "a": [context.op_execution_context.op_config["value"]] * 3,
        }
    )


def cell(time: str, color: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"time": time, "color": color})


def test_multi_partitioned_asset(materialize, rows) -> None:
    for key, value, found in (
        (cell("2022-01-01", "red"), "1", "111"),
        (cell("2022-01-01", "blue"), "2", "111222"),
        (cell("2022-01-02", "red"), "3", "111222333"),
        (cell("2022-01-01", "red"), "4", "222333444"),
    ):
        materialize(multi_partitioned, key=key, value=value)
        assert rows("my_schema.multi_partitioned") == list(found)


def test_dynamic_partition(instance, materialize, rows) -> None:
    @dg.asset(
        partitions_def=FRUITS, key_prefix=SCHEMA, metadata={"partition_expr": "fruit"}, config_schema={"value": str}
    )
    def dynamic_partitioned(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame(
            {"fruit": [context.partition_key] * 3, "a": [context.op_execution_context.op_config["value"]] * 3}
        )

    for fruit, value, found in (("apple", "1", "111"), ("orange", "2", "111222"), ("apple", "3", "222333")):
        instance.add_dynamic_partitions("fruits", [fruit])
        materialize(dynamic_partitioned, key=fruit, value=value)
        assert rows("my_schema.dynamic_partitioned") == list(found)


def test_self_dependent_asset(materialize, rows) -> None:
    seen: list[pl.DataFrame] = []
    key = dg.AssetKey(["my_schema", "self_dependent_asset"])
    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        partitions_def=DAYS,
        key_prefix=SCHEMA,
        ins={"self_dependent_asset": dg.AssetIn(key=key, partition_mapping=before)},
        metadata={"partition_expr": "strptime(key, '%Y-%m-%d')"},
        config_schema={"value": str},
    )
    def self_dependent_asset(context: dg.AssetExecutionContext, self_dependent_asset: pl.DataFrame) -> pl.DataFrame:
        seen.append(self_dependent_asset)
        return pl.DataFrame(
            {"key": [context.partition_key] * 3, "a": [context.op_execution_context.op_config["value"]] * 3}
        )

    materialize(self_dependent_asset, key="2022-01-01", value="1")
    assert seen[0].is_empty()
    assert rows("my_schema.self_dependent_asset") == ["1", "1", "1"]
    materialize(self_dependent_asset, key="2022-01-02", value="2")
    assert seen[1].rows() == [("2022-01-01", "1")] * 3
    assert rows("my_schema.self_dependent_asset") == ["1", "1", "1", "2", "2", "2"]


def test_multi_partitioned_asset_with_downstream_mapping(materialize) -> None:
    seen: list[pl.DataFrame] = []
    by_time = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="time")

    @dg.asset(
        ins={
            "multi_partitioned": dg.AssetIn(dg.AssetKey(["my_schema", "multi_partitioned"]), partition_mapping=by_time)
        },
        partitions_def=DAYS,
        metadata={"partition_expr": "CAST(time as TIMESTAMP)"},
    )
    def downstream_of_multi_partitioned(multi_partitioned: pl.DataFrame) -> None:
        seen.append(multi_partitioned)

    for color in ("red", "blue"):
        materialize(multi_partitioned, key=cell("2022-01-01", color), value="1")
    materialize(multi_partitioned.to_source_asset(), downstream_of_multi_partitioned, key="2022-01-01")
    assert set(seen[0]["color"]) == {"red", "blue"}
    assert set(seen[0]["time"]) == {"2022-01-01"}
    assert seen[0].columns == ["color", "time", "a"]


def in_one_run(definition: Any, expression: Any, frame: pl.DataFrame) -> Any:
    @dg.asset(
        partitions_def=definition,
        metadata={"partition_expr": expression},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def features() -> pl.DataFrame:
        return frame

    return features


def range_tags(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_several_partitions_made_in_one_run_are_told_apart(materialize, rows, tmp_path) -> None:
    days = [datetime(2022, 1, day) for day in (1, 1, 2, 3)]
    features = in_one_run(DAYS, "day", pl.DataFrame({"day": days, "a": [1, 2, 3, 4]}))
    materialize(features, tags=range_tags("2022-01-01", "2022-01-03"))
    assert rows("public.features") == [1, 2, 3, 4]
    materialize(in_one_run(DAYS, "day", pl.DataFrame({"day": days[2:3], "a": [7]})), key="2022-01-02")
    assert rows("public.features") == [1, 2, 4, 7]


def test_rows_that_are_told_apart_keep_their_types(materialize, tmp_path) -> None:
    frame = pl.DataFrame(
        {
            "color": ["yellow", "red", "red"],
            "kind": pl.Series(["b", "a", "b"], dtype=pl.Enum(["a", "b", "c"])),
            "took": pl.Series([1, 2, 3], dtype=pl.Duration("us")),
        }
    )
    materialize(in_one_run(COLORS, "color", frame), tags=range_tags("red", "yellow"))
    stored = place_of(tmp_path, "public", "features", "color", "red").current().read()
    assert stored.equals(frame[1:])
    assert stored.schema == frame.schema


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (pl.DataFrame({"a": [1, 2]}), "lacks the column that tells them apart: color"),
        (pl.DataFrame({"color": ["red", "green"]}), "belong to none of its 2 partitions"),
    ],
)
def test_rows_of_no_partition_are_refused(frame, reason, materialize, tmp_path) -> None:
    with pytest.raises(DataError, match=reason):
        materialize(in_one_run(COLORS, "color", frame), tags=range_tags("red", "yellow"))
    assert not (tmp_path / "tables").exists()


def test_a_partition_that_was_never_made_is_an_error(materialize) -> None:
    """The stock manager answers with no rows, or that the catalog lacks a table."""

    @dg.asset(partitions_def=COLORS, ins={"static_partitioned": dg.AssetIn(key=["my_schema", "static_partitioned"])})
    def after(static_partitioned: pl.DataFrame) -> None:
        raise AssertionError("nothing to read")

    materialize(static_partitioned, key="red", value="1")
    with pytest.raises(StorageError, match=r"Partition 'blue' has no static_partitioned yet\. Materialize"):
        materialize(static_partitioned, after, key="blue", selection=[after])
