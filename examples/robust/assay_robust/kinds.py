"""What a spec may write: the keys of each kind, and where its code is.

Every command that reads a spec imports this module, so it imports nothing large.
"""

from typing import Literal

from pydantic import Field

from assay.spec.analysis import ResultAnalyzer
from assay.spec.base import Probability
from assay.spec.experiment import LockSection
from assay.spec.exptests import TestKind, TestSection
from assay.spec.extensions import Extension
from assay.spec.models import ModelKind, ModelSection
from assay.spec.normalized import FeatureFunction
from assay.spec.predictions import FunctionSection, LoaderSection, PredictionHandler
from assay.spec.trained_model import Learner, LearnerKind


class Varying(FeatureFunction):
    """Columns that are not (nearly) constant in the training rows."""

    kind: Literal["varying"] = "varying"
    """varying."""
    least: float = Field(default=0.0, ge=0)
    """Least standard deviation, in the column's unit; a column must exceed it."""


class OneLayer(ModelSection):
    """One linear layer."""

    kind: Literal["one_layer"] = "one_layer"
    """one_layer."""
    bias: bool = True
    """Whether it has a constant."""


class LogCosh(Learner):
    """The loss log(cosh(error)): quadratic near 0, linear far from it, and smooth everywhere."""

    kind: Literal["log_cosh"] = "log_cosh"
    """log_cosh."""
    scale: float = Field(default=1.0, gt=0)
    """Error at which it turns from quadratic to linear, in standard deviations of the training targets."""


class Averaged(LoaderSection):
    """The mean of the chosen epoch's weights and the last epoch's."""

    kind: Literal["averaged"] = "averaged"
    """averaged."""


class Jittered(FunctionSection):
    """The mean over copies of an item with small random changes."""

    kind: Literal["jittered"] = "jittered"
    """jittered."""
    copies: int = Field(default=4, ge=1, le=1000)
    """Number of copies."""
    noise: float = Field(default=0.01, ge=0)
    """Standard deviation of the changes, in the unit of the network's inputs."""


class Residuals(PredictionHandler):
    """Stores the error of every prediction beside it."""

    kind: Literal["residuals"] = "residuals"
    """residuals."""


class ErrorQuantiles(ResultAnalyzer):
    """Also writes quantiles of the absolute errors."""

    kind: Literal["error_quantiles"] = "error_quantiles"
    """error_quantiles."""
    quantiles: tuple[Probability, ...] = (0.5, 0.9)
    """The quantiles, from 0 to 1."""


class FewLargeErrors(TestSection):
    """At most a share of the items has a larger error than a limit."""

    kind: Literal["few_large_errors"] = "few_large_errors"
    """few_large_errors."""
    limit: float = Field(gt=0)
    """Largest error that is not counted, in the target's unit."""
    share: float = Field(default=0.1, ge=0, le=1)
    """Largest share of items with a larger error."""


class Seats(LockSection):
    """One of a few seats, such as the licences of a program that several experiments share."""

    kind: Literal["seats"] = "seats"
    """seats."""
    seats: int = Field(default=1, ge=1, le=1000)
    """Number of seats."""
    folder: str
    """Folder with one lock file per seat."""


VARYING = Extension(Varying, "assay_robust.tables:varying_columns")
ONE_LAYER = ModelKind(OneLayer, "assay_robust.network:build_one_layer")
LOG_COSH = LearnerKind(LogCosh, loss="assay_robust.network:log_cosh")
AVERAGED = Extension(Averaged, "assay_robust.network:load_averaged")
JITTERED = Extension(Jittered, "assay_robust.network:predict_jittered")
RESIDUALS = Extension(Residuals, "assay_robust.tables:with_residuals")
ERROR_QUANTILES = Extension(ErrorQuantiles, "assay_robust.tables:write_quantiles")
FEW_LARGE_ERRORS = TestKind(FewLargeErrors, "assay_robust.tables:check_few_large_errors")
SEATS = Extension(Seats, "assay_robust.seats:seat")
