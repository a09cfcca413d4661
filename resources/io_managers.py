"""The I/O managers, which pass values from asset to asset: tables, result folders and sections of the spec.

Tables are Parquet files, one per partition; results are passed as pointers to their folder. Belongs here: the interface
to Dagster, and its metadata. Does not belong here: files of tables (``assay.storage.partitions``), SQL over them
(``assay.storage.warehouse``), building results (``assay.storage.results``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import dagster as dg
import polars as pl
from pydantic import Field

from assay.errors import DataError, StorageError
from assay.experiments.contents import read_pointer, write_pointer
from assay.pipeline import StageConfig, stage_config
from assay.spec.ids import validate_id
from assay.storage.parquet import StoredTable, select, widen
from assay.storage.partitions import Partition, place_of
from assay.storage.results import Result
from resources.experiment_store import ExperimentStore


@dataclass(frozen=True)
class TableAddress:
    """A table and a selection of its partitions.

    Attributes:
        name: Name of the asset, for messages.
        schema: From the ``schema`` metadata, the manager's configuration, or the asset key's prefix, in this order.
        table: From the ``table`` metadata, or the last part of the asset key.
        column: From the ``partition_expr`` metadata, or ``experiment_id``; empty for an asset without partitions.
        keys: The selected partition keys.
    """

    name: str
    schema: str
    table: str
    column: str
    keys: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Schema and table, joined by a dot."""
        return f"{self.schema}.{self.table}"

    def partitions(self, root: Path) -> dict[str, Partition]:
        """Return the partitions' files by key; a table without partitions has one file, with an empty key."""
        keys = self.keys if self.column else ("",)
        return {key: place_of(root, self.schema, self.table, self.column, key) for key in keys}


def address_of(
    context: dg.OutputContext | dg.InputContext, output_metadata: Mapping[str, Any], schema: str | None
) -> TableAddress:
    """Return the table of a context; ``output_metadata`` is the definition metadata of the asset that makes it."""
    if context.has_asset_key:
        path = list(context.asset_key.path)
    elif isinstance(context, dg.InputContext) and context.upstream_output is not None:
        path = [context.upstream_output.name]
    else:
        path = [context.name]
    prefix = path[-2] if len(path) > 1 else DEFAULT_SCHEMA
    partitioned = context.has_asset_key and context.has_asset_partitions
    return TableAddress(
        name="/".join(path),
        schema=output_metadata.get("schema") or schema or prefix,
        table=output_metadata.get("table") or path[-1],
        column=output_metadata.get("partition_expr", PARTITION_COLUMN) if partitioned else "",
        keys=tuple(context.asset_partition_keys) if partitioned else (),
    )


class DuckDBParquetIOManager(dg.ConfigurableIOManager):
    """Stores Polars frames, or links tables that are files already, and loads the type that an input is annotated with.

    It follows the conventions of dagster-duckdb (schema, table, ``partition_expr``, ``columns``), but keeps every
    partition in a file of its own, so that writers of different partitions never wait for each other and no table is
    ever half-written.
    """

    root: str
    """Storage root; tables are in its folder ``tables/``."""
    schema_: str | None = Field(default=None, alias="schema")
    """Schema of tables whose asset names none in its metadata."""

    def handle_output(self, context: dg.OutputContext, obj: pl.DataFrame | pl.LazyFrame | StoredTable | None) -> None:
        """Store a table as the output's partition, and show its size, rows and columns in the UI.

        Raises:
            DataError: The value is not a table, can't be stored, or is for several partitions at once.
            StorageError: The table can't be written to the disk.
        """
        address = address_of(context, context.definition_metadata or {}, self.schema_)
        partitions = list(address.partitions(self._path).values())
        if len(partitions) != 1:
            raise DataError(f"{address.name} gave one table for {len(partitions)} partitions; run them one by one.")
        if not isinstance(obj, LOAD_TYPES):
            expected = " or ".join(each.__name__ for each in LOAD_TYPES)
            raise DataError(f"{address.name} gave {type(obj).__name__}; expected {expected}.")
        stored = partitions[0].write(obj)
        context.add_output_metadata(metadata_of_table(stored, address))

    def load_input(self, context: dg.InputContext) -> pl.DataFrame | pl.LazyFrame | StoredTable | None:
        """Return a table, or only the columns that the input's ``columns`` metadata names.

        Several partitions are returned as one table with a column for the partition key. With the metadata
        ``optional: True``, partitions that are not stored are left out, and the input is None if there are none.

        Raises:
            DataError: A column does not exist, or the types of the partitions' columns are incompatible.
            StorageError: The table was never materialized, or can't be read.
        """
        upstream = context.upstream_output
        address = address_of(context, (upstream.definition_metadata if upstream else None) or {}, self.schema_)
        metadata = context.definition_metadata or {}
        load_type = _load_type(context, address)
        columns, optional = metadata.get("columns"), bool(metadata.get("optional"))
        if address.column and not _is_own_partition(context, address):
            return self._load_several(address, columns, load_type, optional)
        table = self._load_one(address, columns, load_type)
        if table is None and not optional:
            raise StorageError(_missing(address, address.keys))
        return table

    def _load_one(
        self, address: TableAddress, columns: Sequence[str] | None, load_type: type
    ) -> pl.DataFrame | pl.LazyFrame | StoredTable | None:
        (partition,) = address.partitions(self._path).values()
        if load_type is StoredTable:
            return partition.current()
        if load_type is pl.DataFrame:
            return partition.use(lambda table: table.read(columns))
        return partition.use(lambda table: select(table.scan(), columns, address.name) if columns else table.scan())

    def _load_several(
        self, address: TableAddress, columns: Sequence[str] | None, load_type: type, optional: bool
    ) -> pl.DataFrame | pl.LazyFrame | None:
        if load_type is StoredTable:
            raise DataError(f"{address.name}: {len(address.keys)} partitions are not one StoredTable; ask for a frame.")
        partitions = address.partitions(self._path)
        tables = {key: partition.use(StoredTable.read) for key, partition in partitions.items()}
        frames = {key: table.lazy() for key, table in tables.items() if table is not None}
        if not optional and (not frames or len(frames) < len(tables)):
            raise StorageError(_missing(address, [key for key, table in tables.items() if table is None]))
        if not frames:
            return None
        whole = widen(frames, address.column, columns, address.name)
        return whole if load_type is pl.LazyFrame else whole.collect()

    @property
    def _path(self) -> Path:
        return Path(self.root).absolute()


def _is_own_partition(context: dg.InputContext, address: TableAddress) -> bool:
    """Return whether the loading asset has the same, single partition; otherwise it loads a table of several."""
    return context.has_partition_key and address.keys == (context.partition_key,)


def _load_type(context: dg.InputContext, address: TableAddress) -> type:
    """Return the annotated type, without ``| None``; ``pl.DataFrame`` if there is no annotation."""
    annotated = context.dagster_type.typing_type
    if annotated is Any:
        return pl.DataFrame
    for candidate in (annotated, *get_args(annotated)):
        if candidate in LOAD_TYPES:
            return candidate  # type: ignore[no-any-return]
    expected = ", ".join(each.__name__ for each in LOAD_TYPES)
    raise DataError(f"The input {address.name} is annotated {annotated}; expected one of {expected}.")


def _missing(address: TableAddress, keys: Sequence[str]) -> str:
    step = f"Materialize {address.name} first."
    if not address.column:
        return f"{address.name} has not been stored yet. {step}"
    if not keys:
        return f"No experiment has {address.name}. {step}"
    shown = ", ".join(repr(key) for key in keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
    return f"Experiment {shown} has no {address.name} yet. {step}"


def metadata_of_table(stored: StoredTable, address: TableAddress) -> dict[str, Any]:
    """Return rows, columns, size in bytes, path and name of a table, under Dagster's standard keys where they exist."""
    schema = stored.schema
    count_key = "dagster/partition_row_count" if address.column else "dagster/row_count"
    metadata: dict[str, Any] = {
        count_key: stored.scan().select(pl.len()).collect().item(),
        "dagster/table_name": address.full_name,
        "table_columns": len(schema),
        "table_size_bytes": stored.path.stat().st_size,
        "table_path": dg.MetadataValue.path(str(stored.path)),
    }
    if len(schema) <= MAX_SCHEMA_COLUMNS:
        columns = [dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()]
        metadata["dagster/column_schema"] = dg.TableSchema(columns)
    return metadata


class SectionIOManager(dg.ConfigurableIOManager):
    """Loads the section of the spec that an asset reads, as it was when the run started."""

    store: ExperimentStore

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Do nothing: the ``experiment`` asset has frozen the spec already."""

    def load_input(self, context: dg.InputContext) -> StageConfig[Any]:
        """Return the section named by the last part of the asset key."""
        experiment_id = validate_id(context.partition_key)
        spec = self.store.spec_of_run(_run_id(context), experiment_id)
        return stage_config(spec, experiment_id, context.asset_key.path[-1])


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


LOAD_TYPES = (pl.DataFrame, pl.LazyFrame, StoredTable)


def _name_of(key: dg.AssetKey) -> str:
    return "__".join(key.path)


def _run_id(context: dg.InputContext) -> str:
    return context.step_context.run_id


DEFAULT_SCHEMA = "main"
"""DuckDB's default schema, so that ``select * from analysis`` finds the table (dagster-duckdb uses ``public``)."""

PARTITION_COLUMN = "experiment_id"

MAX_SCHEMA_COLUMNS = 256
"""Of a wider table only the number of columns is shown, because the event log keeps metadata forever."""
