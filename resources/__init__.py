"""Dagster resources: the experiment store, I/O managers, progress reports, tracking."""
