"""The kinds of learning that can be analysed, one module each."""

from collections.abc import Mapping

from assay.analysis.kind import Kind
from assay.analysis.kinds.classification import CLASSIFICATION
from assay.analysis.kinds.detection import DETECTION
from assay.analysis.kinds.multi_label import MULTI_LABEL
from assay.analysis.kinds.regression import REGRESSION
from assay.analysis.kinds.segmentation import SEGMENTATION

KINDS: Mapping[str, Kind] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "segmentation": SEGMENTATION,
    "detection": DETECTION,
    "multi_label": MULTI_LABEL,
}
"""By the name of the kind of learning."""
