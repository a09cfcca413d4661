"""Comparing experiments: best first, the keys that differ, curves; for the terminal and as one HTML file."""
