"""Plots: small PNG files that show in the UI what a stage made, and the SVG of comparisons."""
