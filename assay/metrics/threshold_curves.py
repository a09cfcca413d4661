"""What would be found, and how much of it right, were the decision made at another probability.

Belongs here: precision, recall and F1 over thresholds. Does not belong here: their picture.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assay.metrics.samples import MultiLabelSample, divide

THRESHOLDS = np.linspace(0, 1, 101)
"""Probabilities from which on an item would be said to have a class."""


def threshold_curves(sample: MultiLabelSample, classes: Sequence[str]) -> pl.DataFrame:
    """Return one row per class and threshold: ``class``, ``threshold``, ``precision``, ``recall``, ``f1``.

    Null where a value is not defined: precision of no prediction, recall of a class that does not occur.
    """
    return pl.concat([_curve(sample, place, name) for place, name in enumerate(classes)])


def _curve(sample: MultiLabelSample, place: int, name: str) -> pl.DataFrame:
    probabilities, has = sample.probabilities[:, place], sample.target[:, place]
    predicted, hits = (
        len(values) - np.searchsorted(np.sort(values), THRESHOLDS) for values in (probabilities, probabilities[has])
    )
    found, right = predicted.astype(np.float64), hits.astype(np.float64)
    wanted = np.full(len(THRESHOLDS), float(has.sum()))
    table = pl.DataFrame(
        {
            "class": [name] * len(THRESHOLDS),
            "threshold": THRESHOLDS,
            "precision": divide(right, found),
            "recall": divide(right, wanted),
            "f1": divide(2 * right, found + wanted),
        }
    )
    return table.with_columns(pl.selectors.float().fill_nan(None))
