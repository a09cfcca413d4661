"""Training and prediction: data in memory, networks, the loop, and weights on disk."""
