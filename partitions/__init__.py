"""What a partition is: one experiment ID, valid at every entrance."""
