"""``warehouse.duckdb``: an index over the stored tables, for SQL and dashboards.

Tables that are queried across all experiments are native DuckDB tables in it; all others are views over their Parquet
files. The index holds nothing that the files don't, so it can be deleted at any time. Runs never touch it.
"""

from assay.storage.warehouse.query import connect, query
from assay.storage.warehouse.refresh import INDEX, NATIVE, RefreshReport, rebuild_warehouse, refresh_warehouse
from assay.storage.warehouse.tables import Changes

__all__ = ["INDEX", "NATIVE", "Changes", "RefreshReport", "connect", "query", "rebuild_warehouse", "refresh_warehouse"]
