"""Metrics of predicted numbers, in the unit of the label.

Belongs here: one function per metric, from a sample with b weightings to values (b,). Does not belong here: intervals.
"""

import numpy as np

from assay.metrics.samples import Floats, RegressionSample, safe_divide


def mean_squared_error(sample: RegressionSample) -> Floats:
    """Return the mean of the squared residuals, in the label's unit squared."""
    return sample.mean((sample.prediction - sample.target) ** 2)


def root_mean_squared_error(sample: RegressionSample) -> Floats:
    """Return the root of the mean squared error, in the label's unit."""
    return np.sqrt(mean_squared_error(sample))


def mean_absolute_error(sample: RegressionSample) -> Floats:
    """Return the mean absolute residual, in the label's unit."""
    return sample.mean(absolute_errors(sample))


def absolute_errors(sample: RegressionSample) -> Floats:
    """Return the absolute residual of each item, in the label's unit: (n,)."""
    errors: Floats = np.abs(sample.prediction - sample.target)
    return errors


def errors(sample: RegressionSample) -> tuple[Floats]:
    """Return the residual of each item, in the label's unit: one (n,)."""
    return (sample.prediction - sample.target,)


def errors_and_deviations(sample: RegressionSample) -> tuple[Floats, Floats]:
    """Return the residuals, and the targets' deviations from their mean: two (n,)."""
    return sample.prediction - sample.target, sample.target - sample.target.mean()


def r_squared(sample: RegressionSample) -> Floats:
    """Return the coefficient of determination: the share of the targets' variance that the predictions explain.

    1 is perfect, 0 is as good as the mean of these targets, and negative values are worse. NaN where all targets are
    equal and there is no variance to explain.
    """
    centred = sample.target - sample.target.mean()
    squares = sample.mean(centred**2)
    variance = squares - sample.mean(centred) ** 2
    # A smaller difference is only rounding error of the subtraction.
    constant = variance <= 1e-13 * squares
    return 1.0 - safe_divide(mean_squared_error(sample), np.where(constant, 0.0, variance))
