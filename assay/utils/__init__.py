"""Small helpers that know nothing of experiments."""
