"""Stage ``tabular``: one row per crop, or the rows of the user's table."""

from assay.tabular.build import build_tabular

__all__ = ["build_tabular"]
