"""Where results live: experiment store, result store, DuckDB I/O manager, locks."""
