"""The built-in networks, one per file."""
