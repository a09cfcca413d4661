"""The kinds of learning that can be analysed, one module each."""

from collections.abc import Mapping

from assay.analysis.base import Kind
from assay.analysis.classification import CLASSIFICATION
from assay.analysis.detection import DETECTION
from assay.analysis.multi_label import MULTI_LABEL
from assay.analysis.regression import REGRESSION
from assay.analysis.segmentation import SEGMENTATION

KINDS: Mapping[str, Kind] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "multi_label": MULTI_LABEL,
}
"""By the name of the kind of learning."""
