"""Stage ``analysis``: how good the predictions are, how sure that is, and where they fail."""

from assay.analysis.build import build_analysis
from assay.analysis.inputs import AnalysisInputs

__all__ = ["AnalysisInputs", "build_analysis"]
