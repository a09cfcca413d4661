"""The only two ways in which a name or a value gets into SQL text.

Belongs here: quoting. Values go as parameters wherever DuckDB takes them; it takes none in DDL, such as a view.
"""


def quote_identifier(name: str) -> str:
    """Return a name of a schema, table or column for SQL text."""
    if not name or "\0" in name:
        raise ValueError(f"{name!r} can't name anything in a database: it is empty or holds a NUL character.")
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: str) -> str:
    """Return a text value for SQL text."""
    if "\0" in value:
        raise ValueError(f"{value!r} can't be a value in SQL text: it holds a NUL character.")
    return "'" + value.replace("'", "''") + "'"


def escape_glob(path: str) -> str:
    """Return a path in which DuckDB's file patterns take every character for itself."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in path)
