"""What the UI shows of a stored table: rows, columns, size, place.

Belongs here: turning a stored table into Dagster metadata. Does not belong here: storing it.
"""

from typing import Any

import dagster as dg
import polars as pl

from assay.storage.parquet import StoredTable
from resources.table_address import TableAddress

MAX_SCHEMA_COLUMNS = 256
"""A wider table shows only its number of columns: the event log keeps metadata for ever."""


def metadata_of_table(stored: StoredTable, address: TableAddress) -> dict[str, Any]:
    """Return rows, columns, size in bytes, file and name of a table, under Dagster's own keys where it has one."""
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
