"""Predicted boxes and masks in the formats of other tools."""

from assay.export.predictions import Detections, read_detections

__all__ = ["Detections", "read_detections"]
