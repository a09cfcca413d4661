"""Whether a confidence of 0.8 is right in 80% of the cases.

Belongs here: bins of confidence and the calibration error. Does not belong here: its picture.
"""

import numpy as np
import polars as pl

from assay.metrics.samples import ClassificationSample, Floats, Integers


def calibration_error(sample: ClassificationSample) -> Floats:
    """Return the expected calibration error: mean gap between confidence and accuracy, over bins of confidence.

    Bins have equal width, (0, 1/m], …, (1 - 1/m, 1]; each counts by its items. Naeini, Cooper and Hauskrecht,
    "Obtaining Well Calibrated Probabilities Using Bayesian Binning" (AAAI 2015); Guo et al., "On Calibration of
    Modern Neural Networks" (ICML 2017), equation 3.
    """
    gap = sample.confidence - (sample.predicted == sample.target)
    bins = np.zeros((len(gap), sample.calibration_bins))
    bins[np.arange(len(gap)), _bin_of(sample.confidence, sample.calibration_bins)] = gap
    error: Floats = np.abs(sample.weights @ bins).sum(axis=1) / sample.weights.sum(axis=1)
    return error


def calibration_table(sample: ClassificationSample) -> pl.DataFrame:
    """Return one row per bin that holds items: its limits, count, mean confidence and accuracy."""
    count = sample.calibration_bins
    items = pl.DataFrame(
        {
            "bin": _bin_of(sample.confidence, count).astype(np.int32),
            "confidence": sample.confidence,
            "correct": (sample.predicted == sample.target).astype(np.float64),
        }
    )
    rows = items.group_by("bin").agg(
        count=pl.len().cast(pl.Int64), mean_confidence=pl.mean("confidence"), accuracy=pl.mean("correct")
    )
    return rows.sort("bin").select(
        "bin",
        (pl.col("bin") / count).alias("confidence_low"),
        ((pl.col("bin") + 1) / count).alias("confidence_high"),
        "count",
        "mean_confidence",
        "accuracy",
    )


def _bin_of(confidence: Floats, count: int) -> Integers:
    return np.clip(np.ceil(confidence * count).astype(np.int64) - 1, 0, count - 1)
