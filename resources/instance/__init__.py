"""Dagster's own services as this project runs them: event log, run launcher and home folder."""
