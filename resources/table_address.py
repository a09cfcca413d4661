"""Which table of the store a Dagster output or input means: dagster-duckdb's contract.

Belongs here: schema, table, partition column and keys from asset keys and metadata. Does not belong here: files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assay.storage.partitions import Partition, place_of

DEFAULT_SCHEMA = "main"
"""DuckDB's own default, so that ``select * from analysis`` finds the table (dagster-duckdb's is ``public``)."""

PARTITION_COLUMN = "experiment_id"


@dataclass(frozen=True)
class TableAddress:
    """A table, and the partitions of it that are meant.

    Attributes:
        name: Name of the asset for messages.
        schema: From the ``schema`` metadata, the manager's configuration, or the key's prefix, in this order.
        table: From the ``table`` metadata, or the key's last part.
        column: From the ``partition_expr`` metadata, or ``experiment_id``; empty for an asset without partitions.
        keys: The partitions.
    """

    name: str
    schema: str
    table: str
    column: str
    keys: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Schema and table as one word."""
        return f"{self.schema}.{self.table}"

    def partitions(self, root: Path) -> dict[str, Partition]:
        """Return the places of the partitions by key; a table without any has one, with an empty key."""
        keys = self.keys if self.column else ("",)
        return {key: place_of(root, self.schema, self.table, self.column, key) for key in keys}


def address_of(
    context: dg.OutputContext | dg.InputContext, output_metadata: Mapping[str, Any], schema: str | None
) -> TableAddress:
    """Return the table that a context means; ``output_metadata`` is the definition metadata of its producer."""
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
