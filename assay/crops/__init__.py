"""Stage ``crops``: the labelled objects, cut out of their images."""

from assay.crops.build import build_crops

__all__ = ["build_crops"]
