"""Services of the Dagster instance: event log, run launcher and run processes, run records, home folder."""
