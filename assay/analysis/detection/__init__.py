"""Analysis of predicted boxes."""
