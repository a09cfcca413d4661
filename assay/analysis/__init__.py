"""How good predictions are, how sure that is, and where they fail."""
