"""The I/O managers, which pass values from asset to asset: tables, result folders and sections of the spec.

Tables are Parquet files, one per partition; results are passed as pointers to their folder. Belongs here: the interface
to Dagster, and its metadata. Does not belong here: files of tables (``assay.storage.partitions``), SQL over them
(``assay.storage.warehouse``), building results (``assay.storage.results``).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import duckdb
import polars as pl
from dagster._core.storage.db_io_manager import (
    DbIOManager,
    DbTypeHandler,
    TablePartitionDimension,
    TableSlice,
)
from dagster_duckdb import DuckDBIOManager
from dagster_duckdb.io_manager import DuckDbClient

from assay.errors import DataError, StorageError
from assay.experiments.contents import read_pointer, write_pointer
from assay.pipeline import StageConfig, stage_config
from assay.spec.ids import validate_id
from assay.storage.columns import column_lines
from assay.storage.parquet import StoredTable, select, stored_frame, table_of, widen
from assay.storage.partitions import EXPERIMENT_COLUMN, Partition, place_of
from assay.storage.results import Result
from assay.utils.text import readable_size
from resources.experiment_store import ExperimentStore

DEFAULT_SCHEMA = "main"
"""DuckDB's own default, so that ``select * from analysis`` finds the table; dagster-duckdb's is ``public``."""

ROW = "assay_row"
"""Column of the rows' numbers while they are told apart."""

UNNAMED_COLUMN = "partition_key"
"""Stands for the partition where ``partition_expr`` is no plain column: several dimensions, expressions, dates."""


class DuckDBParquetIOManager(DuckDBIOManager):
    """dagster-duckdb's I/O manager for Polars frames, which keeps each partition in a Parquet file of its own.

    Fields, metadata (``schema``, ``table``, ``partition_expr``, ``columns``), kinds of partitions and the query shown
    are dagster-duckdb's. What differs is the storage: writers of different partitions never wait for each other, no
    table is ever half-written, partitions may have different columns, and a frame that is a stored table already is
    linked. The files are in the folder ``tables/`` beside ``database``, which is the index that SQL goes through.
    """

    @staticmethod
    def type_handlers() -> Sequence[DbTypeHandler[Any]]:
        """Return the one handler, of eager and lazy frames."""
        return [FrameHandler()]

    @staticmethod
    def default_load_type() -> type:
        """Return the type of an input without annotation."""
        return pl.DataFrame

    def create_io_manager(self, context: Any) -> DbIOManager:
        """Return the manager of a run."""
        return _LenientDbIOManager(
            db_client=ParquetClient(),
            database=self.database,
            schema=self.schema_,
            type_handlers=self.type_handlers(),
            default_load_type=self.default_load_type(),
            io_manager_name="DuckDBIOManager",
        )


class _LenientDbIOManager(DbIOManager):
    """Differs in two points.

    An input may be annotated ``| None``; with the metadata ``optional`` it is None while nothing is stored. An asset,
    like an op, may name its table in the metadata ``table``.
    """

    def _get_table_slice(self, context: Any, output_context: Any) -> TableSlice:
        table_slice = super()._get_table_slice(context, output_context)
        name = (output_context.definition_metadata or {}).get("table")
        return table_slice._replace(table=name) if name else table_slice

    def _check_supported_type(self, obj_type: Any) -> None:
        super()._check_supported_type(_without_none(obj_type))  # type: ignore[no-untyped-call]

    def _resolve_handler(self, obj_type: Any) -> DbTypeHandler[Any]:
        return super()._resolve_handler(_without_none(obj_type))


def _without_none(annotation: Any) -> Any:
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 and type(None) in get_args(annotation) else annotation


@dataclass(frozen=True)
class ParquetConnection:
    """What a ``DbClient`` connects to.

    Attributes:
        root: Storage root: the folder of the database.
        config: The manager's ``connection_config``, for the DuckDB that splits and checks tables.
    """

    root: Path
    config: Mapping[str, Any]

    def partitions(self, context: dg.OutputContext | dg.InputContext, table_slice: TableSlice) -> dict[str, Partition]:
        """Return the partitions of a slice by key; a table without partitions has one, with an empty key."""
        schema, table, column = table_slice.schema, table_slice.table, partition_column(table_slice)
        keys = context.asset_partition_keys if table_slice.partition_dimensions else [""]
        return {key: place_of(self.root, schema, table, column, key) for key in keys}

    def rows_of(self, frame: pl.DataFrame, dimensions: Sequence[TablePartitionDimension]) -> pl.DataFrame:
        """Return the rows of partitions by dagster-duckdb's own rule, in their order and with their types."""
        whole = TableSlice("rows", "main", columns=[ROW], partition_dimensions=dimensions)
        with duckdb.connect(config=dict(self.config)) as connection:
            connection.register("given", frame.with_row_index(ROW))
            connection.execute("CREATE VIEW main.rows AS SELECT * FROM given")
            own: pl.DataFrame = connection.sql(DuckDbClient.get_select_statement(whole)).pl()
        rows: pl.DataFrame = frame[own[ROW].sort()]
        return rows


class ParquetClient(DuckDbClient):
    """dagster-duckdb's client, except that a partition is replaced by renaming, so that nothing is deleted before."""

    @staticmethod
    def delete_table_slice(context: dg.OutputContext, table_slice: TableSlice, connection: ParquetConnection) -> None:
        """Do nothing: the former file stays until the new one is in its place."""

    @staticmethod
    def ensure_schema_exists(context: dg.OutputContext, table_slice: TableSlice, connection: ParquetConnection) -> None:
        """Do nothing: a schema is a folder."""

    @staticmethod
    def get_table_name(table_slice: TableSlice) -> str:
        """Return the name by which SQL finds the table."""
        return f"{table_slice.schema}.{table_slice.table}"

    @staticmethod
    @contextmanager
    def connect(context: dg.OutputContext | dg.InputContext, table_slice: TableSlice) -> Iterator[ParquetConnection]:
        """Yield the storage; no database is opened, so that nobody waits."""
        config: Mapping[str, Any] = context.resource_config or {}
        yield ParquetConnection(Path(config["database"]).absolute().parent, config.get("connection_config") or {})


class FrameHandler(DbTypeHandler[pl.DataFrame | pl.LazyFrame]):
    """Stores and loads Polars frames."""

    @property
    def supported_types(self) -> Sequence[type[object]]:
        """The types of outputs and inputs."""
        return [pl.DataFrame, pl.LazyFrame]

    def handle_output(
        self,
        context: dg.OutputContext,
        table_slice: TableSlice,
        obj: pl.DataFrame | pl.LazyFrame,
        connection: ParquetConnection,
    ) -> dict[str, Any]:
        """Store a frame as the output's partitions and return what the UI shows of it.

        Raises:
            DataError: The frame can't be stored, or holds rows of other partitions.
            StorageError: The frame can't be written to the disk, or is a stored table that was changed.
        """
        partitions = connection.partitions(context, table_slice)
        frames: Mapping[str, pl.DataFrame | pl.LazyFrame]
        if len(partitions) > 1:
            frames = _split(context, table_slice, obj.lazy().collect(), connection)
        elif partition_column(table_slice) == UNNAMED_COLUMN:
            whole = _own_rows(table_slice, obj.lazy().collect(), connection)
            frames = dict.fromkeys(partitions, whole if table_of(obj) is None else obj)
        else:  # the partition itself checks its column, if the rows have one
            frames = dict.fromkeys(partitions, obj)
        stored = [partition.write(table_of(frames[key]) or frames[key]) for key, partition in partitions.items()]
        return metadata_of_tables(stored, bool(table_slice.partition_dimensions))

    def load_input(self, context: dg.InputContext, table_slice: TableSlice, connection: ParquetConnection) -> Any:
        """Return a table, or only the columns that the input's ``columns`` metadata names.

        Of several partitions those that are stored are returned as one table, with a column for the partition key
        unless the rows tell their partition themselves.

        Raises:
            DataError: A column does not exist, or the types of the partitions' columns are incompatible.
            StorageError: Nothing is stored yet, can't be read, or was changed after it was stored.
        """
        partitions = connection.partitions(context, table_slice)
        is_lazy = _without_none(context.dagster_type.typing_type) is pl.LazyFrame
        if not partitions:
            return pl.LazyFrame() if is_lazy else pl.DataFrame()
        tables = {key: partition.checked() for key, partition in partitions.items()}
        found = {key: table for key, table in tables.items() if table is not None}
        if not found:
            if (context.definition_metadata or {}).get("optional"):
                return None
            raise StorageError(_missing(table_slice, list(partitions)))
        frame = _loaded(context, table_slice, found)
        return frame if is_lazy else frame.collect()


def _loaded(context: dg.InputContext, table_slice: TableSlice, found: Mapping[str, StoredTable]) -> pl.LazyFrame:
    """Return the stored partitions as one frame; a whole partition of the same key as it was stored."""
    name, columns = ParquetClient.get_table_name(table_slice), table_slice.columns
    keys = list(context.asset_partition_keys) if table_slice.partition_dimensions else [""]
    is_own = not table_slice.partition_dimensions or (context.has_partition_key and keys == [context.partition_key])
    if is_own:
        (table,) = found.values()
        return select(table.scan(), columns, name) if columns else stored_frame(table)
    column = partition_column(table_slice)
    frames = {key: table.scan() for key, table in found.items()}
    return widen(frames, "" if column == UNNAMED_COLUMN else column, columns, name)


def partition_column(table_slice: TableSlice) -> str:
    """Return the column that stands for the partition; it is named like ``partition_expr`` where that is a plain name.

    Several dimensions, expressions and windows of time are told by other columns of the rows.
    """
    dimensions = table_slice.partition_dimensions or []
    if not dimensions:
        return ""
    expression, partitions = dimensions[0]
    is_plain = len(dimensions) == 1 and not isinstance(partitions, dg.TimeWindow) and expression.isidentifier()
    return expression if is_plain else UNNAMED_COLUMN


def _own_rows(table_slice: TableSlice, whole: pl.DataFrame, connection: ParquetConnection) -> pl.DataFrame:
    """Return all rows; refuse rows of other partitions, which nobody would find or replace."""
    dimensions = table_slice.partition_dimensions or []
    own = connection.rows_of(whole, dimensions)
    if len(own) < len(whole):
        expressions = " and ".join(dimension.partition_expr for dimension in dimensions)
        problem = f"{len(whole) - len(own)} of {len(whole)} rows lie in other partitions by {expressions}"
        raise DataError(f"The table {ParquetClient.get_table_name(table_slice)} belongs elsewhere.", [problem])
    return whole


def _split(
    context: dg.OutputContext, table_slice: TableSlice, frame: pl.DataFrame, connection: ParquetConnection
) -> dict[str, pl.DataFrame]:
    """Return the rows of each of several partitions."""
    dimensions = {key: _dimensions_of(context, table_slice, key) for key in context.asset_partition_keys}
    name = ParquetClient.get_table_name(table_slice)
    expressions = {part.partition_expr for part in table_slice.partition_dimensions or []}
    absent = sorted(each for each in expressions if each.isidentifier() and each not in frame.columns)
    if absent:
        raise DataError(
            f"{name} was made for {len(dimensions)} partitions at once, but lacks the column that tells them apart: "
            f"{', '.join(absent)}. Add it, or make the partitions one by one."
        )
    frames = {key: connection.rows_of(frame, parts) for key, parts in dimensions.items()}
    if sum(map(len, frames.values())) != len(frame):
        raise DataError(f"Some rows of {name} belong to none of its {len(dimensions)} partitions, or to several.")
    return frames


def _dimensions_of(context: dg.OutputContext, table_slice: TableSlice, key: str) -> list[TablePartitionDimension]:
    """Return the dimensions of a slice for one of its partitions."""
    whole: Any = context.asset_partitions_def
    parts = [(whole, key)]
    if isinstance(whole, dg.MultiPartitionsDefinition):
        keys = whole.get_partition_key_from_str(key).keys_by_dimension
        parts = [(part.partitions_def, keys[part.name]) for part in whole.partitions_defs]
    windows = [
        part.time_window_for_partition_key(own) if isinstance(part, dg.TimeWindowPartitionsDefinition) else [own]
        for part, own in parts
    ]
    expressions = [dimension.partition_expr for dimension in table_slice.partition_dimensions or []]
    return [TablePartitionDimension(*pair) for pair in zip(expressions, windows, strict=True)]


def _missing(table_slice: TableSlice, keys: Sequence[str]) -> str:
    name = table_slice.table
    step = f"Materialize {name} first."
    if not table_slice.partition_dimensions:
        return f"{name} has not been stored yet. {step}"
    shown = ", ".join(repr(key) for key in keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
    what = "Experiment" if partition_column(table_slice) == EXPERIMENT_COLUMN else "Partition"
    return f"{what} {shown} has no {name} yet. {step}"


def metadata_of_tables(stored: Sequence[StoredTable], is_partitioned: bool) -> dict[str, Any]:
    """Return rows, columns, size and path of a table, under Dagster's standard keys where they exist.

    Args:
        stored: The files that were written; most often one.
        is_partitioned: Whether they are partitions of a table rather than the table.
    """
    schema = stored[0].schema
    rows = sum(table.scan().select(pl.len()).collect().item() for table in stored)
    return {
        "dagster/partition_row_count" if is_partitioned else "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(
            [dg.TableColumn(line.name, line.kind, line.description or None) for line in column_lines(schema)]
        ),
        "table_columns": len(schema),
        "table_size": readable_size(sum(table.path.stat().st_size for table in stored)),
        "table_path": dg.MetadataValue.path(str(stored[0].path)),
    }


SECTION_PREFIX = "spec_"
"""Beginning of the names of the assets that are sections of the spec, which would otherwise be named like stages."""


class SectionIOManager(dg.ConfigurableIOManager):
    """Loads the section of the spec that an asset reads, as it was when the run started."""

    store: ExperimentStore

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Do nothing: the ``experiment`` asset has frozen the spec already."""

    def load_input(self, context: dg.InputContext) -> StageConfig[Any]:
        """Return the section that the asset is named after."""
        experiment_id = validate_id(context.partition_key)
        spec = self.store.spec_of_run(_run_id(context), experiment_id)
        return stage_config(spec, experiment_id, context.asset_key.path[-1].removeprefix(SECTION_PREFIX))


class ResultIOManager(dg.ConfigurableIOManager):
    """Stores which result folder belongs to an experiment's asset, in one small pointer file each."""

    store: ExperimentStore

    def handle_output(self, context: dg.OutputContext, obj: Result) -> None:
        """Write the pointer from the experiment's asset to its result."""
        write_pointer(self.store.path, context.partition_key, _name_of(context.asset_key), obj)

    def load_input(self, context: dg.InputContext) -> Result | None:
        """Return the result that the upstream asset points to; None if it is optional and missing.

        Raises:
            StorageError: The asset was never materialized, or its result folder is missing.
        """
        result = read_pointer(self.store.path, context.partition_key, _name_of(context.asset_key))
        if result is None and not (context.definition_metadata or {}).get("optional"):
            name, experiment_id = context.asset_key.to_user_string(), context.partition_key
            raise StorageError(f"Experiment {experiment_id!r} has no {name} yet. Materialize {name} first.")
        return result


def _name_of(key: dg.AssetKey) -> str:
    return "__".join(key.path)


def _run_id(context: dg.InputContext) -> str:
    return context.step_context.run_id
