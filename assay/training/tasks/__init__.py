"""The tasks: datasets, losses, running metrics and predictions of each."""
