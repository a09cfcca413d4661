"""Comparison of experiments: a ranking, the keys that differ, and curves; in the terminal and as one HTML file."""
