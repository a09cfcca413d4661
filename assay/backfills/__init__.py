"""Backfills of many experiments through the GraphQL API of Dagster's web server: start, watch, cancel, resume."""
