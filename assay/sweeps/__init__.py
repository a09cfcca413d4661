"""Sweeps: one experiment for every combination of some values, tagged with the sweep's name."""
