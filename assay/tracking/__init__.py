"""Tracking of experiments in MLflow: parameters, metrics, tags and artifacts.

MLflow is imported only by the first call, because the import takes seconds and most installations don't have it.
"""

from assay.tracking.content import STAGES
from assay.tracking.runs import track_stage, track_tests

__all__ = ["STAGES", "track_stage", "track_tests"]
