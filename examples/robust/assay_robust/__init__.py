"""Regression that outliers don't spoil, for Assay: see docs/extending.md."""
