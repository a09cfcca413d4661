"""``warehouse.duckdb``: an index over the stored tables, for SQL and dashboards.

Tables that are asked across all experiments are native in it; the others are views, patterns over their files. The
index holds nothing else and can be deleted at any time; runs never touch it.
"""

from assay.warehouse.asking import connect, query
from assay.warehouse.difference import Changes
from assay.warehouse.refreshing import INDEX, NATIVE, RefreshReport, rebuild_warehouse, refresh

__all__ = ["INDEX", "NATIVE", "Changes", "RefreshReport", "connect", "query", "rebuild_warehouse", "refresh"]
