"""Stage ``splits``: every item in exactly one subset."""
