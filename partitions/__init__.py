"""The partitions of the assets: one per experiment."""
