"""Applying a trained model: to pictures and tables, in Python, by command, and as an export to other programs."""

import assay.training  # noqa: F401  It lets idle threads sleep, which torch asks once, when it is imported.
