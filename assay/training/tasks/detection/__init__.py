"""Learning to find objects: targets, loss, decoding, and training windows with their boxes."""
