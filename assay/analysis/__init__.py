"""The stage ``analysis``: how good predictions are, how certain that is, and where they fail."""
