"""The kinds of learning that can be analysed, one module each."""

from collections.abc import Mapping

from assay.analysis.kind import Kind
from assay.analysis.kinds.classification import CLASSIFICATION
from assay.analysis.kinds.regression import REGRESSION

KINDS: Mapping[str, Kind] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
}
"""By the name of the kind of learning."""
