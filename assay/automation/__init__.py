"""Which experiments are out of date and which runs bring them up to date; the part of automation without Dagster."""
