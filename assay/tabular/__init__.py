"""Stage ``tabular``: one row per crop, or the rows of the user's table."""
