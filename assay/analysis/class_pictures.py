"""The picture of metrics per class.

Belongs here: which rows it shows. Does not belong here: how it looks (``assay.pictures.class_bars``).
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from assay.analysis.kind import Analysis
from assay.files import write_bytes
from assay.metrics.registry import label_of
from assay.pictures.class_bars import class_bars


def draw_class_bars(analysis: Analysis, metrics: Sequence[str], title: str, path: Path) -> None:
    """Draw metrics per class of the headline subset, those of them that were computed.

    Args:
        analysis: All tables.
        metrics: Names of metrics per class; the first orders the classes.
        title: Headline.
        path: The PNG file; not written when none of the metrics is defined for any class.
    """
    rows = analysis.of_headline("analysis").filter(pl.col("metric").is_in(list(metrics)))
    if rows["value"].count():
        write_bytes(path, class_bars(rows, {name: label_of(name) for name in metrics}, title))
