"""Analysis of the class of every pixel."""
