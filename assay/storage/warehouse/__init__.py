"""``warehouse.duckdb``: an index over the stored tables, for SQL and dashboards.

Tables that are asked across all experiments are native in it; the others are views, patterns over their files. The
index holds nothing else and can be deleted at any time; runs never touch it.
"""

from assay.storage.warehouse.diff import Changes
from assay.storage.warehouse.query import connect, query
from assay.storage.warehouse.refresh import INDEX, NATIVE, RefreshReport, rebuild_warehouse, refresh_warehouse

__all__ = ["INDEX", "NATIVE", "Changes", "RefreshReport", "connect", "query", "rebuild_warehouse", "refresh_warehouse"]
