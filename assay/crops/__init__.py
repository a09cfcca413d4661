"""Stage ``crops``: the labelled objects, cut out of their images."""
