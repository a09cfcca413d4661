"""What the analysis reads, and how subsets are ordered.

Belongs here: where predictions and truth are. Does not belong here: reading them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

STANDARD_SUBSETS = ("train", "validation", "test")


@dataclass(frozen=True)
class AnalysisInputs:
    """What the analysis reads.

    Attributes:
        predictions: The file ``predictions.parquet``; what else was predicted lies beside it.
        taught: What baselines know, see ``assay.analysis.taught``: ``target`` of each training item; of masks ``class``
            and ``pixels``; of boxes ``class`` and place.
        task: The kind of learning, such as ``regression`` or ``multi_label``.
        classes: Class names in the model's order, without background; empty for regression.
        crops_folder: Result folder of ``crops``, whose images show the worst items; None when there are none.
        splits_folder: Result folder of ``splits``, with the images and their true masks or boxes; None where neither is
            learned.
        label_classes: Class of each label of masks and boxes; objects of other labels are not looked for.
    """

    predictions: Path
    taught: pl.DataFrame
    task: str = "regression"
    classes: tuple[str, ...] = ()
    crops_folder: Path | None = None
    splits_folder: Path | None = None
    label_classes: Mapping[str, str] = field(default_factory=dict)

    @property
    def train_target(self) -> pl.Series:
        """Target, or class name, or list of class names, of each training item."""
        return self.taught["target"]


def ordered_subsets(frame: pl.DataFrame) -> list[str]:
    """Return the names of the subsets: train, validation, test, then others as they come."""
    names = frame["subset"].unique(maintain_order=True).to_list()
    return [name for name in STANDARD_SUBSETS if name in names] + [n for n in names if n not in STANDARD_SUBSETS]


def by_subset(frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows of each subset, in the order of reports."""
    return {subset: frame.filter(pl.col("subset") == subset) for subset in ordered_subsets(frame)}


def headline_subset(subsets: Sequence[str]) -> str:
    """Return the subset that the summary is about: test, or else the last."""
    return "test" if "test" in subsets else subsets[-1]
