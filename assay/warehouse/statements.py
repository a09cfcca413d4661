"""What a SQL statement asks, and its answer as a frame.

Belongs here: statements of users. Does not belong here: the statements that make an index.
"""

from collections.abc import Callable

import duckdb
import polars as pl

from assay.errors import DataError
from assay.storage.parquet import quote_identifier

CATALOG_WORDS = ("information_schema", "duckdb_", "pg_", "sqlite_", "pragma", "show", "describe", "query")
"""A statement with one of these may ask about tables that it does not name."""


def may_read(statement: str) -> Callable[[str], bool]:
    """Return whether a statement may read a table, given the table's full name; when in doubt, it may.

    Most statements name one table, and looking whether that is up to date is all that they have to wait for.
    """
    text = statement.lower()
    if not text or any(word in text for word in CATALOG_WORDS):
        return lambda _: True
    return lambda full_name: full_name.split(".")[-1].lower() in text


def fetch(connection: duckdb.DuckDBPyConnection, statement: str) -> pl.DataFrame:
    """Return the answer to a statement.

    Raises:
        DataError: It gives no table.
        duckdb.Error: It is wrong, or can't be answered.
    """
    answer = connection.sql(statement)
    if answer is None:
        raise DataError("That statement gives no table. Ask a question, such as: select * from analysis")
    # Polars can't read DuckDB's INTERVAL, not even nested.
    kinds = zip(answer.columns, answer.types, strict=True)
    names = [quote_identifier(name) for name, kind in kinds if "INTERVAL" in str(kind)]
    if names:
        answer = answer.select(f"* REPLACE ({', '.join(f'CAST({name} AS VARCHAR) AS {name}' for name in names)})")
    frame: pl.DataFrame = answer.pl()
    return frame
