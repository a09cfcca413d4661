"""Stage ``normalized``: columns scaled by what was fitted on train."""

from assay.normalized.build import build_normalized

__all__ = ["build_normalized"]
