"""Stage ``splits``: every item in exactly one subset."""

from assay.splits.build import build_splits

__all__ = ["build_splits"]
