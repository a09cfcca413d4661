"""Experiments in MLflow: what they were asked for, what was measured, and files to look at.

MLflow is imported by the first call only; it takes seconds, and most installations have none.
"""

from assay.tracking.content import STAGES
from assay.tracking.runs import track_stage, track_tests

__all__ = ["STAGES", "track_stage", "track_tests"]
