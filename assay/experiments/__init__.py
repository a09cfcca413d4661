"""Experiments: their spec files, run configurations and self-contained folders; copies, imports and sweeps of them."""
