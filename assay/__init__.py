"""Assay's domain: specs, generator, stages, models, metrics. Plain Python; never imports Dagster."""

__version__ = "0.1.0"
