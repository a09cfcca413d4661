"""How precision and recall change with the confidence that a box must have.

Belongs here: curves, and the confidence that balances both best. Does not belong here: average precision.
"""

import numpy as np
import polars as pl

from assay.metrics.detection import AT_50, DetectionSample
from assay.metrics.samples import Booleans, Floats

MOST_POINTS = 200
"""Points kept of each curve: more can't be seen."""
ALL = ""
"""Class of the curve of all classes together."""

CURVE_SCHEMA = pl.Schema(
    {
        "subset": pl.String(),
        "class": pl.String(),
        "threshold": pl.Float64(),
        "precision": pl.Float64(),
        "recall": pl.Float64(),
        "f1": pl.Float64(),
        "best": pl.Boolean(),
    }
)


def curve_rows(subset: str, sample: DetectionSample, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one curve per class that has objects, and one of all together, at an overlap of 0.5.

    Args:
        subset: Name of the subset.
        sample: Its images.
        classes: Class names in the model's order.

    Returns:
        One row per confidence that a box must have, descending; ``best`` marks the highest F1 of each curve.
    """
    objects = np.array(sample.class_counts)
    labels = sample.predicted.label[sample.matches.boxes]
    parts = [_curve(sample, np.ones(len(labels), bool), int(objects.sum())).with_columns(pl.lit(ALL).alias("class"))]
    for place in np.flatnonzero(objects):
        curve = _curve(sample, labels == place, int(objects[place]))
        parts.append(curve.with_columns(pl.lit(classes[place]).alias("class")))
    return pl.concat(parts).with_columns(pl.lit(subset).alias("subset")).select(CURVE_SCHEMA.names()).cast(CURVE_SCHEMA)


def best_confidence(curves: pl.DataFrame) -> float:
    """Return the confidence with the highest F1 over all classes; 0.5 where nothing was predicted."""
    best = curves.filter((pl.col("class") == ALL) & pl.col("best"))["threshold"]
    return float(best[0]) if len(best) else 0.5


def _curve(sample: DetectionSample, chosen: Booleans, object_count: int) -> pl.DataFrame:
    found = sample.matches.found[AT_50, chosen]
    crowd = np.append(sample.objects.crowd, False)[found]
    confidence = sample.predicted.confidence[sample.matches.boxes[chosen]][~crowd]
    right = np.cumsum(found[~crowd] >= 0)
    # Equally sure boxes are taken or left together.
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True)[: len(confidence)])
    right, boxes = right[last].astype(np.float64), 1.0 + last
    f1 = 2 * right / (boxes + object_count)
    best = np.arange(len(f1)) == (f1.argmax() if len(f1) else -1)
    kept = _thinned(right, best)
    return pl.DataFrame(
        {
            "threshold": confidence[last][kept],
            "precision": (right / boxes)[kept],
            "recall": (right / object_count if object_count else np.zeros(len(right)))[kept],
            "f1": f1[kept],
            "best": best[kept],
        }
    )


def _thinned(right: Floats, best: Booleans) -> Booleans:
    """Return which points to keep: the best, the ends, and others evenly spaced."""
    kept = best.copy()
    kept[np.linspace(0, len(right) - 1, min(len(right), MOST_POINTS)).round().astype(int)] = True
    return kept
