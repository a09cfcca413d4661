"""Predicted boxes and masks in the formats of other tools."""

from assay.export.detections import Detections, read_detections

__all__ = ["Detections", "read_detections"]
