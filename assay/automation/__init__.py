"""Which experiments are out of date, and what to ask for: the part of automation that knows nothing of Dagster."""
